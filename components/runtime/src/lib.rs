//! What every CIM service needs around its work.
