//! 3D image encoders on candle: r3d_18 and relatives, with PyTorch parameter names.
