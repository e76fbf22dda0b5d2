//! The macro that declares sections: structs whose fields are keys.

/// Declares a section: its title, and for each field the key (without prefix), the default as text, and the parser.
///
/// The doc comments of the fields are the descriptions in the example file. A field without effect begins with `_`: the
/// compiler names fields that should, and a test wants a warning for each (see `ineffective_keys`).
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])*
        $name:ident $title:literal {
            $($(#[doc = $doc:literal])* $field:ident: $ty:ty = $key:literal, $default:expr, $parser:expr;)*
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

            /// Reads the section. Adds problems to `reader`; returns `None` if there is any.
            pub(super) fn read(reader: &mut $crate::config::config_reader::ConfigReader) -> Option<Self> {
                $(let $field = reader.read::<$ty>($key, $default, &$parser);)*
                Some(Self { $($field: $field?,)* })
            }

            /// Returns title and keys of the section.
            #[must_use]
            pub fn info() -> $crate::config::key_info::SectionInfo {
                use $crate::config::key_info::{KeyInfo, PREFIX, SectionInfo};
                use $crate::config::value_parser::ValueParser;

                let keys = vec![$(KeyInfo {
                    name: format!("{PREFIX}{}", $key),
                    doc: [$($doc),*].map(str::trim).join(" "),
                    default: $default,
                    permitted: ValueParser::<$ty>::permitted(&$parser),
                    is_secret: ValueParser::<$ty>::is_secret(&$parser),
                    has_effect: !stringify!($field).starts_with('_'),
                }),*];
                SectionInfo { title: $title, keys }
            }
        }
    };
}

pub(super) use section;
