//! Message passing on candle: GraphSAGE, GCN, GAT on CSR adjacency.
