//! Normalised request, catalogue, grant and provenance to verdict, without I/O and without a clock
