//! `services.*.build`

use super::service::{FILE_MOUNT, ULIMITS};
use super::{Kind, Object, Pairs, Short, Size, field, object};

pub(super) static BUILD: Object = object(
    "a build",
    &[
        field("context", Kind::Text),
        field("dockerfile", Kind::Text),
        field("dockerfile_inline", Kind::Text),
        field("entitlements", Kind::TextsRepeat),
        field("args", Kind::Pairs(Pairs::Open)),
        field("provenance", FLAG_OR_TEXT),
        field("sbom", FLAG_OR_TEXT),
        field("ssh", Kind::Pairs(Pairs::Ssh)),
        field("labels", Kind::Pairs(Pairs::Filled)),
        field("cache_from", Kind::TextsRepeat),
        field("cache_to", Kind::TextsRepeat),
        field("no_cache", Kind::Flag),
        field("no_cache_filter", Kind::TextOrTexts),
        field("additional_contexts", Kind::Pairs(Pairs::Filled)),
        field("pull", Kind::Flag),
        field("extra_hosts", Kind::Hosts),
        field("isolation", Kind::Text),
        field("network", Kind::Text),
        field("target", Kind::Text),
        field("secrets", Kind::List(&FILE_MOUNT)),
        field("shm_size", Kind::Bytes(Size::IntOrText)),
        field("tags", Kind::TextsRepeat),
        field("ulimits", ULIMITS),
        field("platforms", Kind::TextsRepeat),
        field("privileged", Kind::Flag),
    ],
);

/// Made text by the canonical form.
const FLAG_OR_TEXT: Kind = Kind::Either(Short::Flag, &Kind::Text);
