//! The declaration of a script extension.

/// The largest length of the name of a class and of a method in bytes.
const MAX_NAME_BYTES: usize = 64;
/// The largest number of methods of an extension.
const MAX_METHODS: usize = 64;
/// The classes that are built in.
const BUILT_IN: [&str; 6] = [
    "AWSSecurityTokenService",
    "Ews",
    "HttpClient",
    "MailSender",
    "Slack",
    "SlackMessenger",
];
/// Members of every object of the library.
const NO_METHODS: [&str; 2] = ["constructor", "core"];

/// The class of an extension in `_p.extension`, and its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionDeclaration {
    /// The name of the plugin, that of its file.
    pub name: String,
    /// Its kind, such as `wasm`.
    pub kind: &'static str,
    /// A text for people.
    pub label: String,
    /// The name of the class.
    pub class: String,
    /// The names of its methods.
    pub methods: Vec<String>,
}

impl ExtensionDeclaration {
    /// Checks the names.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !is_name(&self.class, |first| first.is_ascii_uppercase()) {
            return Err(format!(
                "extension must have a capital letter, and then letters, digits and _: at most {MAX_NAME_BYTES}"
            ));
        }
        if BUILT_IN.contains(&self.class.as_str()) {
            return Err(format!("the extension {} is built in", self.class));
        }
        if self.methods.is_empty() || self.methods.len() > MAX_METHODS {
            return Err(format!("methods must name 1 to {MAX_METHODS} methods"));
        }
        let is_method = |name: &String| {
            is_name(name, |first| first.is_ascii_lowercase())
                && !NO_METHODS.contains(&name.as_str())
        };
        match self.methods.iter().find(|name| !is_method(name)) {
            Some(name) => Err(format!(
                "methods: {name:?} is not allowed; a method has a small letter, and then letters, digits and _"
            )),
            None => Ok(()),
        }
    }
}

fn is_name(name: &str, is_first: impl Fn(char) -> bool) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(is_first)
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
