//! Scripts and properties of the connection.
