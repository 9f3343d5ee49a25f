//! Reading and applying OCI image layers.
