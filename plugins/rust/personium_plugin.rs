//! The contract of authentication plugins in Rust without packages: the layout that the canonical ABI of WebAssembly components
//! gives to the types of `plugins/wit/authentication.wit`. The root of the crate defines `authenticate`.

#![allow(dead_code)]

use std::alloc::{alloc, handle_alloc_error, realloc, Layout};

/// A form field of a token request, or a setting.
pub struct Field {
    pub name: String,
    pub value: String,
}

/// A token request.
pub struct Login {
    pub plugin: String,
    pub grant_type: String,
    pub account_types: Vec<String>,
    pub cell: String,
    pub fields: Vec<Field>,
    pub settings: Vec<Field>,
}

/// The errors of OAuth 2.0.
#[derive(Clone, Copy)]
pub enum OauthError {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    UnsupportedGrantType,
    UnsupportedResponseType,
    UnauthorizedClient,
    AccessDenied,
    ServerError,
    TemporarilyUnavailable,
}

/// The result of a plugin.
pub enum Answer {
    Account { name: String, account_type: String },
    Nobody,
    Refused { error: OauthError, description: String },
}

/// The first value of a field or of a setting; empty if there is none.
pub fn value_of<'a>(fields: &'a [Field], name: &str) -> &'a str {
    let found = fields.iter().find(|field| field.name == name);
    found.map_or("", |field| field.value.as_str())
}

#[repr(C)]
struct RawText {
    data: *const u8,
    size: usize,
}

#[repr(C)]
struct RawField {
    name: RawText,
    value: RawText,
}

#[repr(C)]
struct RawAnswer {
    is_refusal: u32,
    /// Whether there is an account, or the error.
    kind: u32,
    first: RawText,
    second: RawText,
}

const NO_TEXT: RawText = RawText { data: std::ptr::null(), size: 0 };

impl RawText {
    /// The memory of a call is fresh, and vanishes with it: nothing has to be freed.
    fn of(text: String) -> Self {
        let text: &'static str = Box::leak(text.into_boxed_str());
        RawText { data: text.as_ptr(), size: text.len() }
    }

    unsafe fn text(&self) -> String {
        String::from_utf8_lossy(list(self.data, self.size)).into_owned()
    }
}

unsafe fn list<'a, T>(data: *const T, size: usize) -> &'a [T] {
    match size {
        0 => &[],
        _ => std::slice::from_raw_parts(data, size),
    }
}

unsafe fn fields(data: *const RawField, size: usize) -> Vec<Field> {
    let field = |raw: &RawField| Field { name: raw.name.text(), value: raw.value.text() };
    list(data, size).iter().map(field).collect()
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

#[export_name = "personium:authentication/authenticator@1.0.0#authenticate"]
unsafe extern "C" fn exported_authenticate(
    plugin: *const u8,
    plugin_size: usize,
    grant_type: *const u8,
    grant_type_size: usize,
    account_types: *const RawText,
    account_type_count: usize,
    cell: *const u8,
    cell_size: usize,
    form: *const RawField,
    field_count: usize,
    settings: *const RawField,
    setting_count: usize,
) -> *const RawAnswer {
    let text = |data: *const u8, size: usize| RawText { data, size }.text();
    let types = list(account_types, account_type_count);
    let login = Login {
        plugin: text(plugin, plugin_size),
        grant_type: text(grant_type, grant_type_size),
        account_types: types.iter().map(|raw| raw.text()).collect(),
        cell: text(cell, cell_size),
        fields: fields(form, field_count),
        settings: fields(settings, setting_count),
    };
    let answer = match crate::authenticate(&login) {
        Answer::Account { name, account_type } => RawAnswer {
            is_refusal: 0,
            kind: 1,
            first: RawText::of(name),
            second: RawText::of(account_type),
        },
        Answer::Nobody => RawAnswer { is_refusal: 0, kind: 0, first: NO_TEXT, second: NO_TEXT },
        Answer::Refused { error, description } => RawAnswer {
            is_refusal: 1,
            kind: error as u32,
            first: RawText::of(description),
            second: NO_TEXT,
        },
    };
    Box::leak(Box::new(answer))
}
