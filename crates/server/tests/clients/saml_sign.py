"""Makes assertions with lxml and signs them with signxml. Given: `key`, `certificate`, the same of somebody else, and
what to say. Gives assertions that must be accepted, and others by what is wrong with each."""

import base64
import copy
import json
import pathlib
import sys
import uuid
from datetime import datetime, timedelta, timezone

from lxml import etree
from signxml import CanonicalizationMethod, DigestAlgorithm, SignatureMethod, XMLSigner
from signxml.signer import SignatureReference

given = json.loads(sys.argv[1])
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
DSIG = "http://www.w3.org/2000/09/xmldsig#"
now = datetime.now(timezone.utc)


def assertion(**changed):
    """The assertion of our profile, unsigned."""
    say = {**given["say"], "id": str(uuid.uuid4()), "issued": now, "zone": timezone.utc, **changed}

    def instant(time):
        return time.astimezone(say["zone"]).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def add(parent, name, text=None, **attributes):
        child = etree.SubElement(parent, f"{{{SAML}}}{name}", **attributes)
        child.text = text
        return child

    root = etree.Element(f"{{{SAML}}}Assertion", nsmap={None: SAML})
    root.set("ID", say["id"])
    root.set("IssueInstant", instant(say["issued"]))
    root.set("Version", "2.0")
    add(root, "Issuer", say["issuer"])
    subject = add(root, "Subject")
    add(subject, "NameID", say["subject"])
    confirmation = add(subject, "SubjectConfirmation", Method="urn:oasis:names:tc:SAML:2.0:cm:bearer")
    expiry = say["issued"] + timedelta(seconds=say["lifespan"])
    add(
        confirmation,
        "SubjectConfirmationData",
        NotOnOrAfter=instant(expiry),
        Recipient=say["target"] + "__token",
    )
    audiences = add(add(root, "Conditions"), "AudienceRestriction")
    add(audiences, "Audience", say["target"])
    add(audiences, "Audience", "")
    statement = add(root, "AuthnStatement", AuthnInstant=instant(say["issued"]))
    add(
        add(statement, "AuthnContext"),
        "AuthnContextClassRef",
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
    )
    attributes = add(root, "AttributeStatement")
    roles = add(attributes, "Attribute", Name="Roles", NameFormat="urn:x-personium:xmlns")
    for role in say["roles"]:
        add(roles, "AttributeValue", role)
    scopes = add(attributes, "Attribute", Name="Scopes")
    for scope in say["scopes"]:
        add(scopes, "AttributeValue", scope)
    return root


def parsed(element):
    """An element as the root of a document of its own, as somebody reads it."""
    return etree.fromstring(etree.tostring(element, with_tail=False))


class Signer(XMLSigner):
    """Signs with weak methods too, and a whole document though it has an ID. Canonical forms are those of the text that is
    sent: lxml misses default namespaces in parts of documents that are only in memory."""

    def check_deprecated_methods(self):
        pass

    def _get_c14n_inputs_from_references(self, root, references):
        if [reference.URI for reference in references] == [""]:
            return [parsed(root)], references
        return super()._get_c14n_inputs_from_references(root, references)

    def _c14n(self, node, **how):
        if etree.QName(node).localname == "SignedInfo":
            node = parsed(node.getparent()).find(f"{{{DSIG}}}SignedInfo")
        return super()._c14n(parsed(node), **how)


def signed(root, who="own", uri="", prefix=None, digest=None, signature=None, short=False, c14n=None):
    signer = Signer(
        signature_algorithm=signature or SignatureMethod.RSA_SHA256,
        digest_algorithm=digest or DigestAlgorithm.SHA256,
        c14n_algorithm=c14n or CanonicalizationMethod.CANONICAL_XML_1_0,
    )
    signer.namespaces = {prefix: DSIG}
    keys = given[who]
    made = signer.sign(
        root,
        key=pathlib.Path(keys["key"]).read_bytes(),
        cert=pathlib.Path(keys["certificate"]).read_text(),
        reference_uri=[SignatureReference(URI=uri)],
        exclude_c14n_transform_element=short,
    )
    return parsed(made)


def token(root):
    # The document has no declaration; carriage returns are escaped.
    return base64.urlsafe_b64encode(etree.tostring(root)).decode().rstrip("=")


good = {
    "both transforms": token(signed(assertion())),
    "the enveloped one alone": token(signed(assertion(), short=True)),
    "another time zone": token(signed(assertion(zone=timezone(timedelta(hours=9))))),
    "SHA-384": token(
        signed(assertion(), signature=SignatureMethod.RSA_SHA384, digest=DigestAlgorithm.SHA384)
    ),
    "SHA-512": token(
        signed(assertion(), signature=SignatureMethod.RSA_SHA512, digest=DigestAlgorithm.SHA512)
    ),
    "text that must be escaped": token(signed(assertion(subject=given["say"]["subject"] + "&<>\"'é\U0001f600"))),
}

bad = {}
genuine = signed(assertion())


def altered(what, change):
    """A genuine one that was changed after signing."""
    root = copy.deepcopy(genuine)
    change(root)
    bad[what] = token(root)


def text(path, value):
    def change(root):
        element = root.find(path.replace("s:", f"{{{SAML}}}").replace("d:", f"{{{DSIG}}}"))
        assert element is not None, path
        element.text = value

    return change


def attribute(path, name, value):
    def change(root):
        element = root.find(path.replace("s:", f"{{{SAML}}}")) if path else root
        assert element.get(name), (path, name)
        element.set(name, value)

    return change


def add_role(root):
    roles = root.find(f".//{{{SAML}}}Attribute")
    role = copy.deepcopy(roles[0])
    role.text = role.text + "2"
    roles.append(role)


def with_second(root):
    """The genuine one inside of an evil one."""
    evil = assertion(subject=given["say"]["subject"] + "evil")
    evil.append(copy.deepcopy(root))
    root[:] = list(evil)


def swap_certificate(root):
    other = signed(assertion(), who="other")
    path = f".//{{{DSIG}}}X509Certificate"
    root.find(path).text = other.find(path).text


def without_signature(root):
    root.remove(root.find(f"{{{DSIG}}}Signature"))


def comment(root):
    name = root.find(f".//{{{SAML}}}NameID")
    name.text, tail = name.text[:10], name.text[10:]
    note = etree.Comment("x")
    note.tail = tail
    name.append(note)


later = (now + timedelta(days=1)).isoformat(timespec="milliseconds")
altered("another issuer", text(".//s:Issuer", given["say"]["issuer"].replace("house", "other")))
altered("another subject", text(".//s:NameID", given["say"]["subject"] + "2"))
altered("another role", add_role)
altered("no roles", lambda root: root.find(f".//{{{SAML}}}Attribute").clear())
altered("another scope", text(".//s:Attribute[@Name='Scopes']/s:AttributeValue", "auth"))
altered("another schema", text(".//s:Audience[2]", given["say"]["issuer"]))
altered("a longer life", attribute(".//s:SubjectConfirmationData", "NotOnOrAfter", later))
altered("another ID", attribute("", "ID", str(uuid.uuid4())))
altered("a comment in the name", comment)
altered("another digest", text(".//d:DigestValue", base64.b64encode(bytes(32)).decode()))
altered("another signature value", text(".//d:SignatureValue", base64.b64encode(bytes(256)).decode()))
altered("another certificate", swap_certificate)
altered("no signature", without_signature)
altered("one inside another", with_second)
altered("two signatures", lambda root: root.append(copy.deepcopy(root[-1])))
bad["an unknown authority"] = token(signed(assertion(), who="other"))
for host in ["evila.example", "example", "a.example.evil"]:
    issuer = given["say"]["issuer"].replace("//a.example", f"//{host}")
    bad[f"an issuer on {host}"] = token(signed(assertion(issuer=issuer)))
bad["a reference to the element by its ID"] = token(
    signed(assertion(id="the-id"), uri="#the-id")
)
bad["SHA-1 in the signature"] = token(signed(assertion(), signature=SignatureMethod.RSA_SHA1))
bad["SHA-1 in the digest"] = token(signed(assertion(), digest=DigestAlgorithm.SHA1))
bad["exclusive canonical form"] = token(
    signed(assertion(), c14n=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0)
)
bad["expired"] = token(signed(assertion(issued=now - timedelta(hours=2))))
bad["for another cell"] = token(signed(assertion(target=given["say"]["target"].replace("ours", "theirs"))))
bad["a role that is none"] = token(signed(assertion(roles=["member"])))
print(json.dumps({"good": good, "bad": bad}))
