"""Front ends: parse what arrives, call the engine, render what leaves. Loads no model library."""
