//! Settings of messages between cells.

use super::section::section;
use super::value_parser::Number;

section! {
    /// Settings of messages between cells.
    MessageConfig "Messages" {
        /// The number of seconds for which the delivery of a message to a cell that does not answer, or answers with a temporary
        /// error, is tried again, after two seconds and then at growing intervals of up to an hour and a quarter. With 0, one
        /// attempt is made.
        delivery_secs: u64 = "message.delivery.expiresIn", "259200", Number(0..=1_209_600);
    }
}
