//! A tunnel as versioned data, for another process to go on with (design D11).
