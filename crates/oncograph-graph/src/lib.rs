//! Heterogeneous graphs under a schema: batching, CSR adjacency, builders and petgraph views.
