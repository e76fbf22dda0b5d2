//! The checklist of the reference's engine: which of our tests shows what each of its test scripts asserts. The table fails when a line
//! has no test, or names one that does not exist. The cases that no other file has are here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{put, run, unit};

/// Each test script of the reference, with the tests that show the same: the file below `tests/it` of this crate, or of the one that is named,
/// and the function.
/// The scripts that it runs no more, and those for interfaces that it has no more, have tests too as far as what they did is possible.
const SCRIPTS: &str = "
testCommon | scripts/checklist::builder_of_a_module_makes_responses
cell | library/cells::cells_of_the_unit_are_managed_with_a_token_of_the_unit library/globals::default_headers_and_version_are_sent_with_the_following_requests
box | library/control::control_objects_are_created_retrieved_listed_and_removed
boxInstall | library/cells::applications_are_installed_from_a_stream_and_from_a_url
boxInstallation | library/cells::applications_are_installed_from_a_stream_and_from_a_url library/control::removal_of_a_box_with_content_needs_the_recursive_call
account | library/control::control_objects_are_created_retrieved_listed_and_removed
accountValidate | library/control::names_of_accounts_with_special_characters_are_keys
acl | library/acl::lists_of_cell_and_box_are_set_and_read_back library/acl::lists_of_a_collection_are_set_and_read_back
aclNormalVariation | library/acl::lists_without_entries_are_accepted
aclErrorVariation | library/acl::principal_without_a_role_and_missing_roles_are_refused_by_the_unit
asExtCell | library/identities::password_grant_gives_the_rights_of_the_account
asRefreshToken | library/identities::refresh_token_gives_new_tokens
asRefreshTokenError | library/identities::refresh_token_gives_new_tokens library/identities::other_arguments_are_refused
asSchema | library/identities::application_is_authenticated_with_its_account
asSchemaByToken | library/identities::application_is_authenticated_with_its_account
asSelfClient | library/identities::client_is_the_caller
asTransCellAccessToken | library/identities::trans_cell_token_is_used_and_exchanged_at_the_cell_that_it_is_for
associationEnd | library/entities::parts_of_a_schema_are_created_retrieved_and_removed
linkAssociationEnd | library/entities::association_ends_are_linked_once
linkExtCellRelation | library/links::objects_are_linked_once_and_unlinked_once
linkExtCellRole | library/links::objects_are_linked_once_and_unlinked_once
linkExtRoleRole | library/links::objects_are_linked_once_and_unlinked_once
linkRelationExtCell | library/links::objects_are_linked_once_and_unlinked_once
linkRelationRole | library/links::objects_are_linked_once_and_unlinked_once
linkRoleAccount | library/links::objects_are_linked_once_and_unlinked_once
linkRoleExtCell | library/links::objects_are_linked_once_and_unlinked_once
linkRoleRelation | library/links::objects_are_linked_once_and_unlinked_once
complexType | library/entities::parts_of_a_schema_are_created_retrieved_and_removed
complexTypeProperty | library/entities::parts_of_a_schema_are_created_retrieved_and_removed
property | library/entities::parts_of_a_schema_are_created_retrieved_and_removed library/entities::properties_show_their_type
entityType | library/entities::parts_of_a_schema_are_created_retrieved_and_removed
relation | library/control::control_objects_are_created_retrieved_listed_and_removed
relationComplex | library/control::control_objects_are_created_retrieved_listed_and_removed
role | library/control::control_objects_are_created_retrieved_listed_and_removed
roleComplex | library/control::control_objects_are_created_retrieved_listed_and_removed library/control::roles_of_a_box_have_the_box_by_default
extcell | library/control::control_objects_are_created_retrieved_listed_and_removed
extrole | library/control::external_role_needs_its_relation_in_the_key
changePassword | library/control::password_of_an_account_is_changed_by_its_manager
changeMyPassword | library/identities::own_password_is_changed_by_its_account_only
event | library/services::events_are_posted_with_the_key_of_the_request_or_their_own
cellLevelEvent | library/services::events_are_posted_with_the_key_of_the_request_or_their_own
cellLevelEventLog | library/services::logs_are_read_as_text_and_as_stream
mkcol | library/files::collections_of_each_kind_are_made_once
mkodata | library/files::collections_of_each_kind_are_made_once
mkservice | library/files::collections_of_each_kind_are_made_once
navigationPropertyPost | library/entities::entities_are_created_and_read_through_navigation_properties
serviceSubject | library/identities::service_subject_is_its_account_in_the_own_cell_by_name_and_by_url
userDataTest | library/entities::entities_are_created_read_changed_and_removed library/entities::queries_send_every_option
userDataQuery | library/entities::queries_send_every_option
userDataQueryExpand | library/entities::queries_send_every_option
webDav | library/files::files_are_put_read_listed_and_removed
upgradeUnit | library/cells::cells_of_the_unit_are_managed_with_a_token_of_the_unit
accessDenyJavaAPI | library/globals::java_packages_have_names_and_nothing_else
cantCallConstructor | scripts/checklist::streams_cannot_be_constructed
requireNoFile | scripts/responses::modules_are_executed_at_each_require
requireEvalError | scripts/responses::modules_are_executed_at_each_require
requireEvalErrorSub | scripts/responses::modules_are_executed_at_each_require
responseIllegal | scripts/checklist::response_made_from_the_text_of_a_request_is_checked scripts/responses::response_of_another_shape_is_refused
nonSupportedResponseCode105 | scripts/responses::status_and_headers_that_a_script_chooses_are_sent
nonSupportedResponseCode2000 | scripts/responses::status_and_headers_that_a_script_chooses_are_sent
returnResponseCodewithQuery | scripts/responses::status_and_headers_that_a_script_chooses_are_sent
nonSupportedResponseHeader | scripts/checklist::headers_and_bodies_are_not_compared_with_the_type
nonSupportedResponseHeaderTransferEncoding | scripts/checklist::headers_and_bodies_are_not_compared_with_the_type scripts/responses::headers_about_the_connection_and_line_breaks_are_not_sent
unmatchedBodyAndContentType | scripts/checklist::headers_and_bodies_are_not_compared_with_the_type
japanese | scripts/responses::text_is_encoded_by_the_character_set_of_its_type
empty | scripts/routes::script_that_is_not_utf8_runs_with_replacements_and_an_empty_one_is_refused
BadRequest | scripts/responses::status_and_headers_that_a_script_chooses_are_sent
NoContent | scripts/responses::status_and_headers_that_a_script_chooses_are_sent
NoContentOld | scripts/responses::status_and_headers_that_a_script_chooses_are_sent
DAOBinaryIO | library/files::body_of_the_request_goes_through_a_file_to_the_response
DAOBinaryRead | scripts/requests::body_is_read_in_lines_and_character_sets
crud | scripts/requests::script_sees_method_address_headers_and_body
test | scripts/checklist::script_answers_as_its_query_says
callExtension | ../server/script_extensions::extensions_of_the_page_are_called_on_threads_and_in_workers
callExtensionAbort | ../server/script_extensions::extensions_of_the_page_are_called_on_threads_and_in_workers
callExtension_JSON_JSON | ../server/script_extensions::extensions_of_the_page_are_called_on_threads_and_in_workers
callExtensionMailSender | ../server/script_mail::mail_goes_to_the_server_of_a_property_file_of_the_original ../server/script_mail::unit_without_a_mail_server_says_so
callExtension_AWSSecurityTokenService_getFederationToken | ../server/script_cloud::credentials_of_aws_are_got_by_signed_requests
callExtension_AWSSecurityTokenService_getSessionToken | ../server/script_cloud::credentials_of_aws_are_got_by_signed_requests
testscript/cell | scripts/requests::nothing_of_a_request_is_seen_by_the_next_one
";

/// The tests of the reference for its engine beyond scripts.
const REQUIREMENTS: &str = "
the relay hands method, body, query and headers on for four methods | scripts/requests::script_sees_method_address_headers_and_body
exec alone is enough, and any other privilege is not | scripts/rights::exec_alone_is_enough_and_no_other_privilege_is
static route, and a route with a pattern | scripts/routes::first_route_that_matches_the_whole_path_answers
dynamic path | scripts/routes::first_route_that_matches_the_whole_path_answers
illegal pattern is 503 | scripts/routes::broken_registration_fails_for_its_service_only
unregistered path is 404 | scripts/routes::first_route_that_matches_the_whole_path_answers
missing source file is 404 | scripts/routes::first_route_that_matches_the_whole_path_answers
changed script is effective at once | scripts/routes::new_version_of_a_script_answers_the_next_request_to_every_node
endless loop is 503 Script TimeOut | scripts/limits::endless_scripts_are_stopped_by_their_time_limit
deep recursion ends with an error | scripts/limits::deep_recursion_is_an_error_that_the_script_can_catch
huge string ends with an error | scripts/limits::memory_of_a_script_is_limited
regular expression that backtracks without end is stopped | scripts/limits::endless_scripts_are_stopped_by_their_time_limit
the server stays well | scripts/limits::other_requests_are_answered_while_scripts_loop
headers are present, with keys in lower case | scripts/requests::script_sees_method_address_headers_and_body
status of three digits from 200 | scripts/responses::status_has_three_digits_and_is_at_least_200
";

/// The numbers of lines of the checklist: a line that is lost here has no test.
const SCRIPTS_NUMBER: usize = 80;
const REQUIREMENTS_NUMBER: usize = 15;

/// The file with a test.
fn file_of(name: &str) -> PathBuf {
    let (package, name) = match name.strip_prefix("../server/") {
        Some(name) => ("../server", name),
        None => ("", name),
    };
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join(package);
    package.join("tests/it").join(format!("{name}.rs"))
}

/// The tests of a file by their names. Those that do not run are none.
fn tests_in(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines() {
        if line.starts_with("#[tokio::test") || line.starts_with("#[test]") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_test = false;
        } else if let Some(rest) = line.trim_start_matches("async ").strip_prefix("fn ")
            && std::mem::take(&mut is_test)
        {
            let (name, _) = rest.split_once('(').unwrap();
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn every_line_of_the_checklist_has_a_test_that_exists() {
    for (lines, number) in [
        (SCRIPTS, SCRIPTS_NUMBER),
        (REQUIREMENTS, REQUIREMENTS_NUMBER),
    ] {
        let mut names = BTreeSet::new();
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let (name, tests) = line.split_once(" | ").unwrap();
            assert!(names.insert(name), "{name} is there twice");
            assert!(!tests.is_empty(), "{name} has no test");
            for test in tests.split(' ') {
                let (file, function) = test.split_once("::").unwrap();
                let found = tests_in(&file_of(file));
                assert!(found.contains(function), "{name}: there is no test {test}");
            }
        }
        assert_eq!(names.len(), number);
    }
}

const BUILDER: &str = "exports.response = function () {
  var made = { status: 200, type: 'text/html; charset=UTF-8;', body: '' };
  var builder = {
    statusCode: function (status) { made.status = status; return builder; },
    responseBody: function (body) { made.body = body; return builder; },
    contentType: function (type) { made.type = type; return builder; },
    build: function () { return { status: made.status, headers: {'Content-Type': made.type}, body: [made.body] }; },
  };
  return builder;
};";

#[tokio::test]
async fn builder_of_a_module_makes_responses() {
    let unit = unit().await;
    put(&unit, "common.js", BUILDER).await;
    for (code, status, content_type, text) in [
        ("responseBody('OK')", 200, "text/html;charset=utf-8", "OK"),
        (
            "statusCode(409).contentType('application/json').responseBody('{}')",
            409,
            "application/json",
            "{}",
        ),
    ] {
        let script =
            format!("function (request) {{ return require('common').response().{code}.build(); }}");
        let response = run(&unit, &script).await;
        assert_eq!(
            (response.status.as_u16(), response.text().as_str()),
            (status, text),
            "{code}"
        );
        let found = response.header("content-type").unwrap().to_lowercase();
        assert!(found.starts_with(content_type), "{code}: {found}");
    }
}

#[tokio::test]
async fn streams_cannot_be_constructed() {
    let unit = unit().await;
    let script = "function (request) {
      var seen = [];
      [request.input.stream(), _p.as('client'), _p.localbox()].forEach(function (made) {
        try { seen.push(typeof new made.constructor()); } catch (e) { seen.push(e.message); }
      });
      return {status: 200, headers: {}, body: [JSON.stringify(seen)]};
    }";
    let response = run(&unit, script).await;
    // Objects of the library that a script makes have no state, so that every method refuses them.
    assert_eq!(response.text(), r#"["not found","object","object"]"#);
}

/// The response is what an expression in the body of the request has as its value.
const EVALUATED: &str =
    "function (request) { return new Function('return ' + request.input.readAll())(); }";

#[tokio::test]
async fn response_made_from_the_text_of_a_request_is_checked() {
    let unit = unit().await;
    put(&unit, "t.js", EVALUATED).await;
    for (value, expected) in [
        (
            "{status: 200, headers: {'Content-Type': 'text/plain'}, body: ['fine']}",
            200,
        ),
        ("undefined", 500),
        ("'text'", 500),
        ("{headers: {}, body: []}", 500),
        ("{status: 'a', headers: {}, body: []}", 500),
        ("{status: 200, body: []}", 500),
        ("{status: 200, headers: 'a', body: []}", 500),
        ("{status: 200, headers: {1: 'a'}, body: []}", 500),
        ("{status: 200, headers: {a: 1}, body: []}", 500),
        (
            "{status: 200, headers: {'Content-Type': 'none'}, body: []}",
            500,
        ),
        ("{status: 200, headers: {}}", 500),
        ("{status: 200, headers: {}, body: [1]}", 500),
    ] {
        let request = unit.admin_request("POST", "c/b/svc/t");
        let response = request.body(value).send().await;
        assert_eq!(response.status, expected, "{value}: {}", response.text());
    }
}

#[tokio::test]
async fn headers_and_bodies_are_not_compared_with_the_type() {
    let unit = unit().await;
    let script = "function (request) {
      return {status: 200, headers: {'X-Of-The-Script': 'a', 'Transfer-Encoding': 'chunked', 'Content-Type': 'application/json'},
        body: ['no JSON']};
    }";
    let response = run(&unit, script).await;
    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (200, "no JSON")
    );
    assert_eq!(response.header("x-of-the-script"), Some("a"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("transfer-encoding"), None);
}

#[tokio::test]
async fn script_answers_as_its_query_says() {
    let unit = unit().await;
    let script = "function (request) {
      var mode = _p.util.queryParse(request.queryString).mode;
      var text = function (status, body, headers) {
        return {status: status, headers: headers || {'Content-Type': 'text/plain'}, body: body};
      };
      if (mode === 'plain') return text(200, ['plain']);
      if (mode === 'readAll') return text(200, [request.input.readAll()]);
      if (mode === 'readLine') return text(200, [request.input.readLine() + '|' + request.input.readLine()]);
      if (mode === '302') return text(302, [], {Location: 'http://other.example/'});
      if (mode === '401') return text(401, ['no'], {'WWW-Authenticate': 'Basic'});
      if (mode === 'forEach') return text(200, {forEach: function (write) { write('a'); write('b'); }});
      if (mode === 'json') return text(200, [JSON.parse(request.input.readAll()).name]);
      return text(200, [JSON.stringify(request)], {'Content-Type': 'application/json'});
    }";
    put(&unit, "t.js", script).await;
    let call = async |mode: &str, body: &str| {
        let path = format!("c/b/svc/t?mode={mode}");
        let request = unit.admin_request("POST", &path);
        request.body(body).send().await
    };
    for (mode, body, status, text) in [
        ("plain", "", 200, "plain"),
        ("readAll", "one\ntwo", 200, "one\ntwo"),
        ("readLine", "one\ntwo\n", 200, "one|two"),
        ("302", "", 302, ""),
        ("401", "", 401, "no"),
        ("forEach", "", 200, "ab"),
        ("json", r#"{"name":"日本"}"#, 200, "日本"),
    ] {
        let response = call(mode, body).await;
        assert_eq!(
            (response.status.as_u16(), response.text().as_str()),
            (status, text),
            "{mode}"
        );
    }
    let moved = call("302", "").await;
    assert_eq!(moved.header("location"), Some("http://other.example/"));
    let whole = call("", "").await.json();
    assert_eq!(whole["method"], "POST");
    assert_eq!(whole["queryString"], "mode=");
    assert_eq!(whole["headers"]["host"], "unit.example");
}
