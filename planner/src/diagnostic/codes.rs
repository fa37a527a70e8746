//! Every code a diagnostic can have. `E` is an error, `W` a warning.

/// A file cannot be read.
pub const UNREADABLE: &str = "E0101";
/// The text is not YAML.
pub const SYNTAX: &str = "E0102";
/// A key is given twice in one mapping.
pub const DUPLICATE_KEY: &str = "E0103";
/// Too long, too deep or too many nodes once aliases are followed.
pub const TOO_BIG: &str = "E0104";
/// A key that is not text.
pub const KEY_NOT_TEXT: &str = "E0105";
/// `<<` with something that is not a mapping.
pub const BAD_MERGE_KEY: &str = "E0106";
/// An anchor that contains itself.
pub const ALIAS_CYCLE: &str = "E0107";
/// The file is not a mapping, or there is nothing in it.
pub const NOT_A_STACK: &str = "E0108";
/// A value whose tag asks for another type.
pub const BAD_TAG: &str = "E0109";
/// A line that looks like a list item is read as part of the text above it.
pub const SWALLOWED_LINE: &str = "W0101";

/// `${` that is not a variable reference.
pub const BAD_TEMPLATE: &str = "E0201";
/// A required variable has no value.
pub const REQUIRED_VARIABLE: &str = "E0202";
/// The text after interpolation is not of the wanted type.
pub const BAD_CAST: &str = "E0203";
/// An environment or label file cannot be read.
pub const ENV_FILE: &str = "E0204";
/// An environment file has a mistake.
pub const DOTENV: &str = "E0205";
/// The project has no usable name.
pub const PROJECT_NAME: &str = "E0206";
/// A variable is not set; empty text is used.
pub const UNSET_VARIABLE: &str = "W0201";
/// `yes`, `on`, … for a boolean.
pub const OLD_BOOLEAN: &str = "W0202";

/// An included file is not usable.
pub const INCLUDE: &str = "E0301";
/// Files include each other in a circle.
pub const INCLUDE_CYCLE: &str = "E0302";
/// The service or file to extend is not there.
pub const EXTENDS: &str = "E0303";
/// Services extend each other in a circle.
pub const EXTENDS_CYCLE: &str = "E0304";
/// Two files give different kinds of values.
pub const CANNOT_MERGE: &str = "E0305";

/// An attribute that does not exist.
pub const UNKNOWN_KEY: &str = "E0401";
/// A value of the wrong type.
pub const WRONG_TYPE: &str = "E0402";
/// A required attribute is missing.
pub const MISSING_KEY: &str = "E0403";
/// A value that is not one of the allowed ones.
pub const NOT_ALLOWED: &str = "E0404";
/// A name with characters that are not allowed.
pub const BAD_NAME: &str = "E0405";
/// A list holds the same item twice.
pub const NOT_UNIQUE: &str = "E0406";
/// A key at the wrong depth of indentation.
pub const MISPLACED: &str = "E0407";
/// `version` has no meaning.
pub const OBSOLETE_VERSION: &str = "W0401";
/// `external.name` is written `name` today.
pub const EXTERNAL_NAME: &str = "W0402";

/// A port that cannot be understood.
pub const BAD_PORT: &str = "E0501";
/// A volume or device that cannot be understood.
pub const BAD_VOLUME: &str = "E0502";
/// A size, number or duration that cannot be understood.
pub const BAD_QUANTITY: &str = "E0503";
/// A host entry or address that cannot be understood.
pub const BAD_HOST: &str = "E0504";
/// A command line that cannot be split into words.
pub const BAD_COMMAND: &str = "E0505";
/// Attributes that exclude each other.
pub const CONFLICT: &str = "E0506";
/// `key=value` expected.
pub const BAD_PAIR: &str = "E0507";
/// The command line ends at a shell operator.
pub const CUT_COMMAND: &str = "W0501";

/// A service that is not defined.
pub const UNDEFINED_SERVICE: &str = "E0601";
/// A network, volume, secret, config or model that is not defined.
pub const UNDEFINED_RESOURCE: &str = "E0602";
/// Services depend on each other in a circle.
pub const DEPENDENCY_CYCLE: &str = "E0603";
/// Neither an image nor a build.
pub const NO_IMAGE: &str = "E0604";
/// Two mounts at one place.
pub const DUPLICATE_MOUNT: &str = "E0605";
/// Two attributes give different values for one thing.
pub const INCONSISTENT: &str = "E0606";

/// An attribute that cannot be honoured, and ignoring it would be wrong.
pub const UNSUPPORTED: &str = "E0701";
/// A value that the runtime cannot use.
pub const UNUSABLE_VALUE: &str = "E0702";
/// An attribute that has no effect.
pub const IGNORED: &str = "W0701";
/// Two services publish the same port of the host.
pub const PORT_TWICE: &str = "W0702";
/// An image for another processor.
pub const FOREIGN_PLATFORM: &str = "W0703";

/// There are more findings than are shown.
pub const MORE: &str = "W0901";
