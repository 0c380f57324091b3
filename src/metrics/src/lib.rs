//! Names every number the operator sees.
