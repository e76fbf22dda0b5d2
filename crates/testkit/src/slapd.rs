//! An LDAP directory: OpenLDAP's `slapd` in a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::process::{OnDrop, Process, free_port};

/// The entry below which all others are.
pub const DIRECTORY_BASE: &str = "dc=corp,dc=example";
/// The password of the entry `cn=reader`, which may search.
pub const READER_PASSWORD: &str = "reader-password";

/// Entries of the directory, of which it locks `carol` after two wrong passwords. Passwords are in clear there: what is tested is not how the directory keeps them.
const ENTRIES: &str = "\
dn: dc=corp,dc=example
objectClass: dcObject
objectClass: organization
o: Corp
dc: corp

dn: cn=reader,dc=corp,dc=example
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reader-password

dn: ou=people,dc=corp,dc=example
objectClass: organizationalUnit
ou: people

dn: uid=alice,ou=people,dc=corp,dc=example
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: Example
mail: alice@corp.example
employeeType: staff
userPassword: alice-password

dn: uid=bob,ou=people,dc=corp,dc=example
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Example
mail: alice@corp.example
employeeType: guest
userPassword: bob-password

dn: uid=nopassword,ou=people,dc=corp,dc=example
objectClass: inetOrgPerson
uid: nopassword
cn: No Password
sn: Example
employeeType: staff

dn: uid=two,ou=people,dc=corp,dc=example
objectClass: inetOrgPerson
uid: two
uid: zwei
cn: Two
sn: Example
employeeType: staff
userPassword: two-password

dn: cn=lockout,dc=corp,dc=example
objectClass: organizationalRole
objectClass: pwdPolicy
cn: lockout
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 2

dn: uid=carol,ou=people,dc=corp,dc=example
objectClass: inetOrgPerson
uid: carol
cn: Carol
sn: Example
employeeType: staff
userPassword: carol-password
pwdPolicySubentry: cn=lockout,dc=corp,dc=example
";

/// An LDAP directory on free ports of this machine, which requires TLS for passwords. Dropping it kills the process.
#[derive(Debug)]
pub struct Slapd {
    port: u16,
    tls_port: u16,
    process: Process,
    folder: TempDir,
}

impl Slapd {
    /// Starts a directory with some entries, with a certificate for `localhost`. `None` if the program is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = Path::new("/usr/sbin/slapd");
        if !program.exists() {
            println!("SKIPPED: slapd is not installed, so this test shows nothing");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let config = write_config(folder.path());
        let added = Command::new("/usr/sbin/slapadd")
            .arg("-f")
            .arg(&config)
            .arg("-l")
            .arg(folder.path().join("entries.ldif"))
            .output()
            .unwrap();
        assert!(
            added.status.success(),
            "{}",
            String::from_utf8_lossy(&added.stderr)
        );
        let (port, tls_port) = (free_port(), free_port());
        let mut command = Command::new(program);
        command
            .arg("-f")
            .arg(&config)
            .arg("-h")
            .arg(format!(
                "ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{tls_port}/"
            ))
            // With a level of debugging it stays in the foreground.
            .args(["-d", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let listening = Process::listen(&mut command, tls_port, OnDrop::Kill);
        let (process, _) = listening.unwrap_or_else(|e| panic!("{e}"));
        Some(Self {
            port,
            tls_port,
            process,
            folder,
        })
    }

    /// The URL for StartTLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ldap://localhost:{}", self.port)
    }

    /// The URL for TLS.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("ldaps://localhost:{}", self.tls_port)
    }

    /// The file with the root of its certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Stops the process without ending it: it accepts connections and answers nothing.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.process.resume();
    }
}

fn write_config(folder: &Path) -> PathBuf {
    fs::write(folder.join("entries.ldif"), ENTRIES).unwrap();
    fs::create_dir(folder.join("data")).unwrap();
    let config = folder.join("slapd.conf");
    let shown = folder.display();
    let text = format!(
        "include /etc/ldap/schema/core.schema\n\
         include /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\n\
         pidfile {shown}/slapd.pid\n\
         modulepath /usr/lib/ldap\n\
         moduleload back_mdb\n\
         moduleload ppolicy\n\
         TLSCACertificateFile {shown}/ca.crt\n\
         TLSCertificateFile {shown}/server.crt\n\
         TLSCertificateKeyFile {shown}/server.key\n\
         security simple_bind=64\n\
         allow bind_anon_cred bind_anon_dn\n\
         database mdb\n\
         suffix \"{DIRECTORY_BASE}\"\n\
         rootdn \"cn=root,{DIRECTORY_BASE}\"\n\
         directory {shown}/data\n\
         index uid eq\n\
         overlay ppolicy\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn.exact=\"cn=reader,{DIRECTORY_BASE}\" read by anonymous auth by * none\n"
    );
    fs::write(&config, text).unwrap();
    config
}

/// Makes an authority and a certificate for `localhost` by openssl.
fn make_certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    fs::write(
        folder.join("san"),
        "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\n",
    )
    .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.crt -days 30 -subj /CN=test-authority"
    ));
    openssl(&format!(
        "req -new {key} -keyout server.key -out server.csr -subj /CN=localhost"
    ));
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 30 -extfile san",
    );
}
