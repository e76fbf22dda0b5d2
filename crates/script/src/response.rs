//! Plain responses of scripts: objects with a number, headers that are texts, and a list of texts. Others are left to `response.js`.

use rquickjs::{Array, Ctx, Filter, Object, Result, Value};

use crate::native;
use crate::output::ResponseHead;
use crate::running_script::ScriptSlot;

/// The most headers of a plain response.
const PLAIN_HEADERS_MAX: usize = 64;
/// The most texts of the body of a plain response.
const PLAIN_TEXTS_MAX: usize = 64;
/// The largest body of a plain response, in bytes.
const PLAIN_BODY_MAX_BYTES: usize = 1 << 20;

/// Hands a response to the output if it is a plain one that nothing is wrong with. Otherwise nothing has happened.
///
/// # Errors
/// What the script throws while its response is read; a failure of the output.
pub(crate) fn send_plain<'js>(
    ctx: &Ctx<'js>,
    slot: &ScriptSlot,
    value: &Value<'js>,
) -> Result<bool> {
    let Some((head, body)) = plain(ctx, value)? else {
        return Ok(false);
    };
    native::with(ctx, slot, |script| {
        script.output.set_head(head);
        for text in body {
            script.write(text.into_bytes())?;
        }
        Ok(())
    })?;
    Ok(true)
}

/// Head and body of a plain response.
fn plain<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Result<Option<(ResponseHead, Vec<String>)>> {
    let Some(response) = object(value) else {
        return Ok(None);
    };
    let Some(status) = status(&response.get("status")?) else {
        return Ok(None);
    };
    let headers: Value<'js> = response.get("headers")?;
    let Some(headers) = object(&headers) else {
        return Ok(None);
    };
    let Some(headers) = plain_headers(ctx, headers)? else {
        return Ok(None);
    };
    let body: Value<'js> = response.get("body")?;
    let Some(body) = body.as_array() else {
        return Ok(None);
    };
    let body = plain_body(ctx, body)?;
    Ok(body.map(|body| (ResponseHead { status, headers }, body)))
}

/// An object that is no list and no function.
fn object<'a, 'js>(value: &'a Value<'js>) -> Option<&'a Object<'js>> {
    let is_other = value.is_array() || value.is_function();
    value.as_object().filter(|_| !is_other)
}

/// A number that is a status from 200.
fn status(value: &Value<'_>) -> Option<u16> {
    let number = value.as_number()?;
    (200..1000_u16).find(|status| f64::from(*status) == number)
}

/// Headers, if all of them are plain, and they are not too large.
fn plain_headers<'js>(
    ctx: &Ctx<'js>,
    headers: &Object<'js>,
) -> Result<Option<Vec<(String, String)>>> {
    let mut out = Vec::new();
    let mut bytes = 0;
    for name in headers.own_keys::<String>(Filter::new().string().enum_only()) {
        let Some(name) = readable(ctx, name)? else {
            return Ok(None);
        };
        let value: Value<'js> = headers.get(name.as_str())?;
        let Some(value) = text(ctx, &value)? else {
            return Ok(None);
        };
        bytes += name.len() + value.len();
        let is_plain = is_plain_header(&name, &value);
        // A character has at most six bytes in JSON.
        if !is_plain || bytes > native::HEADERS_MAX_BYTES / 8 || out.len() == PLAIN_HEADERS_MAX {
            return Ok(None);
        }
        out.push((name, value));
    }
    Ok(Some(out))
}

/// Whether nothing is to be done with a header, and its body is UTF-8 by it.
fn is_plain_header(name: &str, value: &str) -> bool {
    let is_name = is_token(name) && !name.bytes().all(|byte| byte.is_ascii_digit());
    let is_value = !value
        .bytes()
        .any(|byte| byte.is_ascii_control() && byte != b'\t');
    is_name
        && is_value
        && (!name.eq_ignore_ascii_case("content-type") || is_media_type_of_utf_8(value))
}

/// Whether a text is a media type without parameters, or with the parameter `charset=utf-8`.
fn is_media_type_of_utf_8(text: &str) -> bool {
    let (media_type, parameters) = text.split_once(';').unwrap_or((text, "charset=utf-8"));
    let is_type = media_type
        .split_once('/')
        .is_some_and(|(main, sub)| is_token(main) && is_token(sub));
    let parameters = parameters.strip_prefix(' ').unwrap_or(parameters);
    is_type && parameters.eq_ignore_ascii_case("charset=utf-8")
}

/// Whether a text is a token of RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_token)
}

/// The texts of a body, if it has nothing else, and they are neither many nor large.
fn plain_body<'js>(ctx: &Ctx<'js>, body: &Array<'js>) -> Result<Option<Vec<String>>> {
    // `Array::len` takes no length beyond 31 bits.
    let length: Value<'js> = body.as_object().get("length")?;
    let length = length
        .as_int()
        .and_then(|length| usize::try_from(length).ok());
    let Some(length) = length.filter(|length| *length <= PLAIN_TEXTS_MAX) else {
        return Ok(None);
    };
    let mut out = Vec::new();
    let mut bytes = 0;
    for at in 0..length {
        let value: Value<'js> = body.get(at)?;
        let Some(text) = text(ctx, &value)? else {
            return Ok(None);
        };
        bytes += text.len();
        if bytes > PLAIN_BODY_MAX_BYTES {
            return Ok(None);
        }
        out.push(text);
    }
    Ok(Some(out))
}

/// A text that is well-formed; `None` for other values.
fn text(ctx: &Ctx<'_>, value: &Value<'_>) -> Result<Option<String>> {
    match value.as_string() {
        Some(text) => readable(ctx, text.to_string()),
        None => Ok(None),
    }
}

/// A text that was read; `None` if it cannot be one. What the script throws is passed on.
fn readable(ctx: &Ctx<'_>, text: Result<String>) -> Result<Option<String>> {
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_exception() => Err(error),
        Err(_) => {
            // There may be no memory for the text.
            ctx.catch();
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_headers_are_told_from_others() {
        for (name, value) in [
            ("Content-Type", "text/plain"),
            ("content-type", "application/json;charset=UTF-8"),
            ("Content-Type", "application/vnd.x+json; charset=utf-8"),
            ("X-A", "é\t"),
        ] {
            assert!(is_plain_header(name, value), "{name}: {value}");
        }
        for (name, value) in [
            ("Content-Type", "text/plain; charset=ms932"),
            ("Content-Type", "text/plain;"),
            ("Content-Type", "text"),
            ("Content-Type", "text/"),
            ("Content-Type", ""),
            ("X-A", "a\nb"),
            ("X-A", "a\u{7f}"),
            ("X A", "a"),
            ("12", "a"),
            ("", "a"),
        ] {
            assert!(!is_plain_header(name, value), "{name}: {value}");
        }
    }
}
