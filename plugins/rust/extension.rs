//! A script extension with three methods. What they do is decided in `invoke`.

mod personium_extension;

use personium_extension::{Call, Value};

fn invoke(call: &Call) -> Result<Value, String> {
    match (call.method.as_str(), call.arguments.as_slice()) {
        ("greet", [Value::Text(name)]) => {
            let greeting = match call.created_with.first() {
                Some(Value::Text(given)) => given,
                _ => call.setting("greeting"),
            };
            Ok(Value::Text(format!("{greeting}, {name}!")))
        }
        ("total", numbers) => {
            let mut total = 0.0;
            for number in numbers {
                match number {
                    Value::Number(number) => total += number,
                    _ => return Err("total adds numbers".to_owned()),
                }
            }
            Ok(Value::Number(total))
        }
        // A stream, or what a method has returned as one.
        ("shout", [Value::Bytes(bytes)]) => Ok(Value::Bytes(bytes.to_ascii_uppercase())),
        _ => Err(format!("{} does not take these arguments", call.method)),
    }
}
