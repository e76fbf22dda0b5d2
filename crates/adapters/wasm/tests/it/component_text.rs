//! Components from the text format of WebAssembly, with the contract of `plugins/wit`.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The name of the function that a plugin exports.
const EXPORT: &str = "personium:authentication/authenticator@1.0.0#authenticate";
/// The name of the function that an extension exports.
const EXTENSION_EXPORT: &str = "personium:extension/methods@1.0.0#invoke";
/// The address of the result, which the text and the strings of the result follow.
pub const RESULT: u32 = 1_024;
/// The address of the first string.
const STRINGS: u32 = 2_048;

/// The parts of a module in the text format.
#[derive(Default)]
pub struct Parts {
    /// Imports, which are first.
    pub imports: String,
    /// The number of pages of the memory; by default 16.
    pub pages: Option<u32>,
    /// Functions and data.
    pub fields: String,
    /// The body of `authenticate`, which returns an address; by default that of [`RESULT`].
    pub body: Option<String>,
    /// The body of the allocator, which returns an address; by default one that takes the next free bytes.
    pub realloc: Option<String>,
}

impl Parts {
    /// A plugin with this body.
    pub fn body(text: &str) -> Self {
        Self {
            body: Some(text.to_owned()),
            ..Self::default()
        }
    }

    /// A plugin that returns an account.
    pub fn account(name: &[u8], account_type: &str) -> Self {
        let kind = account_type.as_bytes();
        let at = |offset: usize| STRINGS + u32::try_from(offset).unwrap();
        let words = [
            0,
            1,
            at(0),
            u32::try_from(name.len()).unwrap(),
            at(name.len()),
            u32::try_from(kind.len()).unwrap(),
        ];
        Self::result(&words, &[name, kind].concat())
    }

    /// A plugin that returns these words, with strings behind them.
    pub fn result(words: &[u32], strings: &[u8]) -> Self {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Self {
            fields: format!("{}{}", data(RESULT, &bytes), data(STRINGS, strings)),
            ..Self::default()
        }
    }

    /// The component, for a world of `plugins/wit`.
    pub fn component(&self, world: &str) -> Vec<u8> {
        component_of(&self.module(EXPORT), &wit_of_the_project(), world)
    }

    /// The component of a script extension, for a world of `plugins/wit/extension`.
    pub fn extension(&self, world: &str) -> Vec<u8> {
        let wit = std::fs::read_to_string("../../../plugins/wit/extension/extension.wit").unwrap();
        component_of(&self.module(EXTENSION_EXPORT), &wit, world)
    }

    fn module(&self, export: &str) -> Vec<u8> {
        let body = self.body.clone().unwrap_or(format!("i32.const {RESULT}"));
        let realloc = self.realloc.clone().unwrap_or(
            "(global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
             (global.get $next)
             (global.set $next (i32.add (global.get $next) (local.get 3)))"
                .to_owned(),
        );
        let text = format!(
            r#"(module
              {imports}
              (memory (export "memory") {pages})
              (global $next (mut i32) (i32.const 65536))
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
              (func (export "{export}") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {body})
              {fields})"#,
            imports = self.imports,
            pages = self.pages.unwrap_or(16),
            fields = self.fields,
        );
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// A data segment.
pub fn data(address: u32, bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const {address}) \"{text}\")\n")
}

/// The text of the contract.
pub fn wit_of_the_project() -> String {
    let path = Path::new("../../../plugins/wit/authentication.wit");
    std::fs::read_to_string(path).unwrap()
}

/// The component of a module for a world of a text in WIT.
pub fn component_of(module: &[u8], wit: &str, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let mut encoder = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .unwrap();
    encoder.encode().unwrap()
}
