//! The command line, as transcripts: what is asked, what is answered, and the exit status.

#[test]
fn what_is_asked_is_answered_and_wrong_requests_get_a_clear_error_and_status_2() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
