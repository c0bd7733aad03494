//! The daemon on a node: it lists containers, asks for checkpoints, keeps the archives and serves them to who may have them.
//! It does nothing else, and writes an audit line for all that it does.
