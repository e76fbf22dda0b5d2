"""A script extension with three methods. What they do is decided in `invoke`."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.methods import Call, Value, Value_Bytes, Value_Number, Value_Text


def greeting_of(call: Call) -> str:
    match call.created_with:
        case [Value_Text(given), *_]:
            return given
    return next((setting.value for setting in call.settings if setting.name == "greeting"), "")


def total(numbers: list[Value]) -> Value:
    if not all(isinstance(number, Value_Number) for number in numbers):
        raise Err("total adds numbers")
    return Value_Number(sum((number.value for number in numbers), 0.0))


class Methods(exports.Methods):
    def invoke(self, request: Call) -> Value:
        match (request.method, request.arguments):
            case ("greet", [Value_Text(name)]):
                return Value_Text(f"{greeting_of(request)}, {name}!")
            case ("total", numbers):
                return total(numbers)
            # A stream, or what a method has returned as one.
            case ("shout", [Value_Bytes(content)]):
                return Value_Bytes(content.upper())
        raise Err(f"{request.method} does not take these arguments")
