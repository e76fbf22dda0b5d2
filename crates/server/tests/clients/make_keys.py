"""Makes an authority, and keys with certificates that it signs, as openssl users would. Given: `folder`, and `units`:
file names with host names. `root.crt` is the authority; `<name>.key` and `<name>.crt` are the others."""

import datetime
import json
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

given = json.loads(sys.argv[1])
folder = pathlib.Path(given["folder"])
now = datetime.datetime.now(datetime.timezone.utc)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(subject, issuer, key, signer, authority):
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, authority, authority, False, False), critical=True
        )
    )
    if not authority:
        host = subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = made.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return made.sign(signer, hashes.SHA256())


def write(file, key, made):
    if key:
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{file}.key").write_bytes(pem)
    (folder / f"{file}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


authority = new_key()
authority_name = name(given.get("authority", "Authority of the test"))
write("root", None, certificate(authority_name, authority_name, authority, authority, True))
for file, host in given["units"].items():
    key = new_key()
    write(file, key, certificate(name(host), authority_name, key, authority, False))
print(json.dumps({"done": True}))
