//! Sections: structs whose fields are keys.

/// What is told about a key.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// The whole name.
    pub name: String,
    /// What it does.
    pub doc: String,
    /// The text that stands for its default; empty is none.
    pub default: &'static str,
    /// What is permitted.
    pub allowed: String,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Whether anything depends on it. The others are read so that files of other versions are accepted.
    pub has_effect: bool,
}

/// Declares a section: its title, and for each field the key (without prefix), the default as text, and the rule.
///
/// The doc comments of the fields are the descriptions in the example file. A field that nothing depends on begins with
/// `_`: the compiler names those that should, and a test wants a warning for each (see `retired`).
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])*
        $name:ident $title:literal {
            $($(#[doc = $doc:literal])* $field:ident: $ty:ty = $key:literal, $default:expr, $rule:expr;)*
        }
    ) => {
        $(#[doc = $section_doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[doc = $doc])* pub(crate) $field: $ty,)*
        }

        impl $name {
            /// The title of the section.
            pub const TITLE: &'static str = $title;

            /// Reads the section; problems are noted in `source`, and then there is none.
            pub(super) fn read(source: &mut $crate::config::Source) -> Option<Self> {
                $(let $field = source.take::<$ty>($key, $default, &$rule);)*
                Some(Self { $($field: $field?,)* })
            }

            /// The keys of the section.
            #[must_use]
            pub fn keys() -> Vec<$crate::config::KeyInfo> {
                vec![$($crate::config::KeyInfo {
                    name: format!("{}{}", $crate::config::PREFIX, $key),
                    doc: [$($doc),*].map(str::trim).join(" "),
                    default: $default,
                    allowed: $crate::config::rule::Rule::<$ty>::allowed(&$rule),
                    secret: $crate::config::rule::Rule::<$ty>::is_secret(&$rule),
                    has_effect: !stringify!($field).starts_with('_'),
                }),*]
            }
        }
    };
}

pub(super) use section;
