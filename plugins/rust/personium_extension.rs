//! The contract of script extensions in Rust without packages: the layout that the canonical ABI of WebAssembly components gives to
//! the types of `plugins/wit/extension/extension.wit`. The root of the crate defines `invoke`.

#![allow(dead_code)]

use std::alloc::{alloc, handle_alloc_error, realloc, Layout};

/// A value of a script.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `undefined` or `null`.
    Absent,
    Boolean(bool),
    Number(f64),
    Text(String),
    /// An object or an array as JSON text.
    Json(String),
    /// The content of a buffer, or of a stream, which the script gets as a stream.
    Bytes(Vec<u8>),
}

/// A call of a method.
pub struct Call {
    pub extension: String,
    pub method: String,
    pub cell: String,
    /// The arguments of the constructor.
    pub created_with: Vec<Value>,
    pub arguments: Vec<Value>,
    /// Names and values.
    pub settings: Vec<(String, String)>,
}

impl Call {
    /// A setting of the operator; empty if there is none.
    pub fn setting(&self, name: &str) -> &str {
        let found = self.settings.iter().find(|(setting, _)| setting == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct RawList<T> {
    data: *const T,
    size: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
union RawContent {
    boolean: u8,
    number: f64,
    bytes: RawList<u8>,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct RawValue {
    kind: u8,
    content: RawContent,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct RawSetting {
    name: RawList<u8>,
    value: RawList<u8>,
}

#[repr(C)]
union RawResult {
    value: RawValue,
    message: RawList<u8>,
}

#[repr(C)]
struct RawAnswer {
    is_error: u8,
    result: RawResult,
}

impl<T> RawList<T> {
    unsafe fn items<'a>(&self) -> &'a [T] {
        match self.size {
            0 => &[],
            _ => std::slice::from_raw_parts(self.data, self.size),
        }
    }
}

impl RawList<u8> {
    /// The memory of a call is fresh, and vanishes with it: nothing has to be freed.
    fn of(bytes: Vec<u8>) -> Self {
        let bytes: &'static [u8] = Box::leak(bytes.into_boxed_slice());
        RawList { data: bytes.as_ptr(), size: bytes.len() }
    }

    unsafe fn text(&self) -> String {
        String::from_utf8_lossy(self.items()).into_owned()
    }
}

impl RawValue {
    unsafe fn read(&self) -> Value {
        match self.kind {
            1 => Value::Boolean(self.content.boolean != 0),
            2 => Value::Number(self.content.number),
            3 => Value::Text(self.content.bytes.text()),
            4 => Value::Json(self.content.bytes.text()),
            5 => Value::Bytes(self.content.bytes.items().to_vec()),
            _ => Value::Absent,
        }
    }

    fn of(value: Value) -> Self {
        let bytes = |kind: u8, bytes: Vec<u8>| RawValue { kind, content: RawContent { bytes: RawList::of(bytes) } };
        match value {
            Value::Absent => RawValue { kind: 0, content: RawContent { boolean: 0 } },
            Value::Boolean(value) => RawValue { kind: 1, content: RawContent { boolean: value as u8 } },
            Value::Number(number) => RawValue { kind: 2, content: RawContent { number } },
            Value::Text(text) => bytes(3, text.into_bytes()),
            Value::Json(text) => bytes(4, text.into_bytes()),
            Value::Bytes(content) => bytes(5, content),
        }
    }
}

#[export_name = "cabi_realloc"]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, alignment: usize, size: usize) -> *mut u8 {
    if size == 0 {
        return alignment as *mut u8;
    }
    let layout = Layout::from_size_align_unchecked(size, alignment);
    let new = match old_size {
        0 => alloc(layout),
        _ => realloc(old, Layout::from_size_align_unchecked(old_size, alignment), size),
    };
    if new.is_null() {
        handle_alloc_error(layout);
    }
    new
}

#[export_name = "personium:extension/methods@1.0.0#invoke"]
unsafe extern "C" fn exported_invoke(
    extension: *const u8,
    extension_size: usize,
    method: *const u8,
    method_size: usize,
    cell: *const u8,
    cell_size: usize,
    created_with: *const RawValue,
    created_with_count: usize,
    arguments: *const RawValue,
    argument_count: usize,
    settings: *const RawSetting,
    setting_count: usize,
) -> *const RawAnswer {
    let text = |data: *const u8, size: usize| RawList { data, size }.text();
    let values = |data: *const RawValue, size: usize| -> Vec<Value> {
        RawList { data, size }.items().iter().map(|raw| raw.read()).collect()
    };
    let settings = RawList { data: settings, size: setting_count };
    let call = Call {
        extension: text(extension, extension_size),
        method: text(method, method_size),
        cell: text(cell, cell_size),
        created_with: values(created_with, created_with_count),
        arguments: values(arguments, argument_count),
        settings: settings.items().iter().map(|raw| (raw.name.text(), raw.value.text())).collect(),
    };
    let answer = match crate::invoke(&call) {
        Ok(value) => RawAnswer { is_error: 0, result: RawResult { value: RawValue::of(value) } },
        Err(message) => RawAnswer { is_error: 1, result: RawResult { message: RawList::of(message.into_bytes()) } },
    };
    Box::leak(Box::new(answer))
}
