//! The protocol against a model of the server.
