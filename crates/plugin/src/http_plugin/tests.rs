use super::*;

#[test]
fn secrets_leave_the_machine_over_tls_only() {
    for good in [
        "https://auth.example/login",
        "https://10.0.0.1:8443/",
        "http://127.0.0.1:8080/x?y",
        "http://[::1]/",
        "http://localhost/",
    ] {
        assert_eq!(check_url(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "auth.example",
        "http://auth.example/",
        "http://localhost.example/",
        "http://10.0.0.1/",
        "http://127.0.0.1@auth.example/",
        "https://user@auth.example/",
        "https://:word@auth.example/",
        "https://auth.example/#x",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
    ] {
        assert!(check_url(bad).is_err(), "{bad}");
    }
}

#[test]
fn descriptions_are_bounded_and_have_no_control_characters() {
    assert_eq!(printable("no \"way\"\r\n\\\u{202e}!"), "no way!");
    assert_eq!(printable(&"x".repeat(10_000)).len(), MAX_DESCRIPTION_CHARS);
}
