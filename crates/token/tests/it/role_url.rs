use personium_token::role_url::RoleUrl;
use proptest::prelude::*;

#[test]
fn instance_and_class_urls_are_parsed() {
    let url = RoleUrl::parse("https://cell1.unit1.example/__role/box1/role1").unwrap();
    assert_eq!(
        url,
        RoleUrl::instance("https://cell1.unit1.example/", Some("box1"), "role1")
    );
    let class = "https://app1.unit1.example/__role/__/role1";
    assert_eq!(
        RoleUrl::parse_class(class).unwrap(),
        RoleUrl::class("https://app1.unit1.example/", "role1")
    );
    assert_eq!(RoleUrl::parse(class).unwrap().box_name, None);
    assert_eq!(RoleUrl::parse(class).unwrap().to_string(), class);
}

#[test]
fn last_matching_role_segment_is_used() {
    let url = RoleUrl::parse("https://x/__role/__/a/__role/b/c").unwrap();
    assert_eq!(url.base, "https://x/__role/__/a/");
    let url = RoleUrl::parse("https://x/__role/__/a/__role/").unwrap();
    assert_eq!(
        (url.base.as_str(), url.role.as_str()),
        ("https://x/", "a/__role/")
    );
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        "role1",
        "/__role/__/r",
        "__role/__/r",
        "https://x/__role/",
        "https://x/__role/__",
        "https://x/__role/__/",
        "https://x/__role//r",
        "https://x/role/__/r",
        "https://x__role/__/r",
        "https://x/__role/__/r\n",
        "https://x/__ROLE/__/r",
    ] {
        assert!(RoleUrl::parse(text).is_err(), "{text}");
    }
    assert!(RoleUrl::parse_class("https://x/__role/box1/r").is_err());
}

proptest! {
    #[test]
    fn printed_urls_parse_to_the_same_url(
        base in "https?://[a-z.:0-9]{1,20}/([a-z]{1,5}/)?",
        box_name in prop::option::of("[a-zA-Z0-9-]{1,10}"),
        role in "[a-zA-Z0-9_-]{1,10}",
    ) {
        let url = RoleUrl::instance(&base, box_name.as_deref(), &role);
        prop_assert_eq!(RoleUrl::parse(&url.to_string()), Ok(url));
    }

    #[test]
    fn accepted_texts_print_to_themselves(text in ".{0,12}(/__role/)?.{0,12}") {
        if let Ok(url) = RoleUrl::parse(&text) {
            prop_assert_eq!(url.to_string(), text);
        }
    }
}
