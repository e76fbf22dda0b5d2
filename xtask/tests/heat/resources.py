"""Validates the templates of a folder by the library of OpenStack Heat, and prints what they make as JSON.

Nothing is asked of a cloud: names of networks, images and flavours are taken as they are.
"""

import json
import pathlib
import sys
from unittest import mock

import yaml
from heat.common import context, template_format
from heat.engine import constraints, environment, function, resource, resources, stack, template
from heat.engine.hot import functions

# Values of the parameters that have no default.
GIVEN = {"resolver_1": "192.0.2.53", "resolver_2": "192.0.2.54"}


def load(name, files):
    """Returns a template as Heat keeps it, with values of all parameters."""
    declared = yaml.safe_load(files[name])["parameters"]
    values = {key: GIVEN.get(key, key) for key, parameter in declared.items() if "default" not in parameter}
    env = environment.Environment({"parameters": values})
    parsed = template.Template(template_format.parse(files[name]), files=files, env=env)
    return stack.Stack(context.RequestContext(is_admin=True), "unit", parsed)


def plain(value):
    """Returns a value of a property: functions by their result, other resources and their attributes by names."""
    if isinstance(value, (functions.GetResource, functions.GetAtt)):
        return {"of": value.args}
    if isinstance(value, function.Function):
        return plain(value.result())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def describe(made):
    """Checks a stack strictly, and returns its resources with their properties and what they need first."""
    made.validate(validate_res_tmpl_only=True)
    return {
        name: {
            "type": item.type(),
            "needs": sorted(item.t.required_resource_names()),
            "properties": plain(item.t._properties or {}),
        }
        for name, item in sorted(made.resources.items())
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    files = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    resources.initialise()
    available = classmethod(lambda _type, _context: (True, None))
    mock.patch.object(resource.Resource, "is_service_available", available).start()
    check = constraints.CustomConstraint._is_valid

    def check_by_itself(constraint, *arguments):
        """Checks what needs no cloud, such as addresses; the names of such constraints have no dot."""
        return "." in constraint.name or check(constraint, *arguments)

    mock.patch.object(constraints.CustomConstraint, "_is_valid", check_by_itself).start()
    found = {}
    for name in sorted(files):
        made = load(name, files)
        found[name] = {
            "resources": describe(made),
            "outputs": {key: plain(output._value) for key, output in made.outputs.items()},
        }
    print(json.dumps(found))


main()
