//! System call filters in Docker's form of a profile (its `default.json`).

use serde::{Deserialize, Serialize};

/// A profile. Keys that are not here concern other architectures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// For calls that no rule is about.
    pub default_action: Action,
    /// Error number, with [`Action::Errno`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// The rules.
    #[serde(default)]
    pub syscalls: Vec<Rule>,
    /// Architectures whose programs may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architectures: Option<Vec<String>>,
    /// The same, by the architecture of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch_map: Option<Vec<Architecture>>,
}

/// What runs on an architecture beside its own programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Architecture {
    /// The machine's, by libseccomp's name: `SCMP_ARCH_X86_64`.
    pub architecture: String,
    /// The others.
    pub sub_architectures: Vec<String>,
}

impl Profile {
    /// Programs of `other` may run on a machine of the architecture `own`.
    pub fn takes(&self, own: &str, other: &str) -> bool {
        let maps = self.arch_map.iter().flatten();
        let mut maps = maps.filter(|map| map.architecture == own);
        let is_other = |name: &String| name == other;
        self.architectures.iter().flatten().any(is_other)
            || maps.any(|map| map.sub_architectures.iter().any(is_other))
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// The thread ends.
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    /// The process ends.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    /// The process gets SIGSYS.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// It fails.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// A tracer is asked.
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    /// It is made, and noted by the kernel.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// It is made.
    #[default]
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
}

/// A rule about some calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Names of the calls; those that the kernel does not have are passed
    /// over.
    #[serde(default)]
    pub names: Vec<String>,
    /// One more, as profiles had it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What becomes of them.
    pub action: Action,
    /// Error number, with [`Action::Errno`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// All of them must hold.
    #[serde(default)]
    pub args: Option<Vec<Argument>>,
    /// The rule holds with one of these.
    #[serde(default)]
    pub includes: Option<Circumstances>,
    /// The rule does not hold with one of these.
    #[serde(default)]
    pub excludes: Option<Circumstances>,
}

/// Where a rule holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Circumstances {
    /// The service has this capability.
    pub caps: Vec<String>,
    /// Go's names of architectures: `amd64`, `arm64`.
    pub arches: Vec<String>,
    /// The kernel is that new: guests have one that is newer than any
    /// that profiles ask for.
    pub min_kernel: Option<String>,
}

/// A condition on an argument.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    /// 0 to 5.
    pub index: u8,
    /// What it is compared with; the mask with [`Compare::MaskedEqual`].
    pub value: u64,
    /// What the masked argument is compared with.
    #[serde(default)]
    pub value_two: u64,
    /// How.
    pub op: Compare,
}

/// A comparison of an argument with a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compare {
    /// `!=`
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    /// `<`
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    /// `<=`
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    /// `==`
    #[default]
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    /// `>=`
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    /// `>`
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// `argument & value == value_two`
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

impl Rule {
    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().chain(&self.name).map(String::as_str)
    }
}
