//! A unit whose file bodies are on a share. The kernel of the tests has neither a server nor a client of NFS: what mounts the share is
//! replaced by a program that mounts a folder of the machine, or fails as a server that does not answer.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use crate::ansible::{boot, is_root, status, succeeded};
use crate::booted_debian::{DebianFiles, wait_until};
use crate::package::OLD;
use crate::playbook::Operator;
use crate::test_network::TestNetwork;

const ADDRESS: &str = "172.16.0.11";

/// The mount point of the share.
const MOUNT_POINT: &str = "/srv/personium-bodies";

/// The pause before the share is tried again, as in the role `ap`.
const RETRY: Duration = Duration::from_secs(20);

/// In place of `mount.nfs4 SOURCE MOUNT_POINT OPTIONS`: the share is a folder of the machine, if there is one.
const MOUNT: &str = "#!/bin/sh
echo \"$@\" > /run/mounted
exec mount --bind /share \"$2\"
";

#[test]
#[ignore = "takes many minutes: cargo xtask deploy"]
fn unit_whose_share_is_not_there_does_not_start_and_writes_nothing_in_its_place() {
    if !is_root() {
        return;
    }
    let network = TestNetwork::new(&["172.16.0.1/24"]);
    let operator = Operator::new();
    let files = DebianFiles::of_a_bastion(&format!("{ADDRESS}/24"), &operator.public_key());
    let system = boot(&files, &network, "one");
    let host = json!({"unit.example.org": {"unit_address": ADDRESS, "ansible_host": ADDRESS}});
    let mut hosts = json!({});
    for group in ["web", "ap", "bodies"] {
        hosts[group]["hosts"] = host.clone();
    }
    let inventory = operator.path("hosts.yml");
    let hosts = json!({"all": {"children": hosts}});
    fs::write(&inventory, hosts.to_string()).unwrap();
    let inventory = inventory.to_str().unwrap();
    let mut variables = operator.package(OLD);
    variables.push(json!({"unit_name": "unit.example.org", "unit_bodies": "nfs"}).to_string());

    // The server of the share does not answer.
    let options = ["--skip-tags", "bodies"];
    let failed = operator.run(&network, inventory, &variables, &options);
    assert!(!failed.succeeded, "{}", failed.output);
    for reason in [
        "unit.example.org cannot mount the share 172.16.0.11:/srv/personium-bodies",
        "Unable to start service srv-personium",
    ] {
        assert!(failed.output.contains(reason), "{}", failed.output);
    }
    let unmounted = format!(
        "! systemctl is-active personium && ! mountpoint -q {MOUNT_POINT} && test -z \"$(ls -A {MOUNT_POINT})\""
    );
    system.expect(&unmounted);

    let mount = files.path("usr/sbin/mount.nfs4");
    let _ = fs::remove_file(&mount);
    fs::write(&mount, MOUNT).unwrap();
    fs::set_permissions(&mount, Permissions::from_mode(0o755)).unwrap();
    system.expect("install -d -o personium -g personium -m 700 /share");
    succeeded(operator.run(&network, inventory, &variables, &options));
    let again = succeeded(operator.run(&network, inventory, &variables, &options));
    assert_eq!(again.changes(), [], "{}", again.output);
    let given = system.expect("cat /run/mounted");
    for part in [
        format!("{ADDRESS}:/srv/personium-bodies {MOUNT_POINT}"),
        "hard".to_owned(),
    ] {
        assert!(given.contains(&part), "{part}: {given}");
    }
    system.expect("test $(stat -c %u /share) = 2070 && test $(id -u personium) = 2070");
    assert_eq!(
        status(&network, "https://unit.example.org/", ADDRESS),
        "200"
    );
    let bodies = system.expect("find /share -mindepth 1 | head -1");
    assert!(!bodies.is_empty());

    // The machine comes back before the share does.
    drop(system);
    fs::rename(files.path("share"), files.path("share.away")).unwrap();
    let system = boot(&files, &network, "one");
    wait_until("Nginx serves", || {
        status(&network, "https://unit.example.org/", ADDRESS) == "502"
    });
    system.expect(&unmounted);
    let (started, _) = system.run("systemctl start personium");
    assert!(!started);
    system.expect(&unmounted);
    // The share is there again. Nobody does anything on the machine of the unit.
    let serves = || status(&network, "https://unit.example.org/", ADDRESS) == "200";
    system.expect("mv /share.away /share");
    wait_until("the unit serves", serves);
    // The share is lost while the unit runs: systemd stops the unit with it, and starts it when the share is mounted again.
    let by_systemd =
        format!("systemctl start $(systemd-escape --path --suffix=mount {MOUNT_POINT})");
    let by_hand = format!("mount --bind /share {MOUNT_POINT}");
    for mount in [by_systemd, by_hand] {
        system.expect(&format!("umount --lazy {MOUNT_POINT}"));
        wait_until("the unit is stopped", || {
            !system.run("systemctl is-active personium").0
        });
        system.expect(&unmounted);
        // What an operator has unmounted stays so.
        std::thread::sleep(RETRY + Duration::from_secs(5));
        system.expect(&unmounted);
        system.expect(&mount);
        wait_until("the unit serves again", serves);
    }
    // A unit that an operator has stopped stays so while the share is there.
    system.expect("systemctl stop personium");
    std::thread::sleep(RETRY + Duration::from_secs(5));
    system.expect(&format!(
        "! systemctl is-active personium && mountpoint -q {MOUNT_POINT}"
    ));
    system.expect("systemctl start personium");
    wait_until("the unit serves once more", serves);
}
