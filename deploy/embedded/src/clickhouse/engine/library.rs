//! The C interface of the engine: the only place with `unsafe` code.
//!
//! In: the path of the shared library, connection arguments, query text. Out: owned Rust values; nothing of the
//! library's memory is reachable after a call returns. Guaranteed: every pointer that the library hands out is given
//! back exactly once, and the library stays loaded for as long as anything of it is in use.
#![allow(unsafe_code, reason = "calls a C library; every block states why it is sound")]

use anyhow::{Context, Result, bail};
use std::ffi::{CStr, CString, c_char, c_double, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

type RawConnection = *mut c_void;
type RawResult = *mut c_void;
type ResultNumber = unsafe extern "C" fn(RawResult) -> u64;

/// The functions of the library that are used here.
struct Functions {
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut RawConnection,
    close: unsafe extern "C" fn(*mut RawConnection),
    query: unsafe extern "C" fn(RawConnection, *const c_char, usize, *const c_char, usize) -> RawResult,
    destroy: unsafe extern "C" fn(RawResult),
    buffer: unsafe extern "C" fn(RawResult) -> *const c_char,
    length: unsafe extern "C" fn(RawResult) -> usize,
    error: unsafe extern "C" fn(RawResult) -> *const c_char,
    elapsed: unsafe extern "C" fn(RawResult) -> c_double,
    result_rows: ResultNumber,
    result_bytes: ResultNumber,
    read_rows: ResultNumber,
    read_bytes: ResultNumber,
    written_rows: ResultNumber,
    written_bytes: ResultNumber,
}

/// The loaded library.
pub(crate) struct Library {
    functions: Functions,
    /// Keeps the code mapped that `functions` points to.
    _mapping: libloading::Library,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

/// What a query did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) result_rows: u64,
    pub(crate) result_bytes: u64,
    pub(crate) read_rows: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_rows: u64,
    pub(crate) written_bytes: u64,
    /// Seconds.
    pub(crate) elapsed: f64,
}

/// The complete result of a query.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) data: Vec<u8>,
    pub(crate) counters: Counters,
}

/// The engine's own words for what went wrong: `Code: N. DB::Exception: ..`.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl Library {
    /// Loads the shared library at `path`.
    pub(crate) fn load(path: &Path) -> Result<Arc<Library>> {
        // SAFETY: loading runs the library's initialisers. The file is the pinned package whose digest `install`
        // checked, or one that the operator named.
        let mapping = unsafe { libloading::Library::new(path) }
            .with_context(|| format!("cannot load the ClickHouse engine from {}", path.display()))?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the type of the field that receives the symbol is that of the C declaration in the
                // pinned version of the library.
                *unsafe { mapping.get($name) }.with_context(|| {
                    format!("{} has no function {}", path.display(), String::from_utf8_lossy($name))
                })?
            };
        }
        let functions = Functions {
            connect: function!(b"chdb_connect"),
            close: function!(b"chdb_close_conn"),
            query: function!(b"chdb_query_n"),
            destroy: function!(b"chdb_destroy_query_result"),
            buffer: function!(b"chdb_result_buffer"),
            length: function!(b"chdb_result_length"),
            error: function!(b"chdb_result_error"),
            elapsed: function!(b"chdb_result_elapsed"),
            result_rows: function!(b"chdb_result_rows_read"),
            result_bytes: function!(b"chdb_result_bytes_read"),
            read_rows: function!(b"chdb_result_storage_rows_read"),
            read_bytes: function!(b"chdb_result_storage_bytes_read"),
            written_rows: function!(b"chdb_result_rows_written"),
            written_bytes: function!(b"chdb_result_bytes_written"),
        };
        let set_signal_handlers_enabled: unsafe extern "C" fn(c_int) =
            function!(b"chdb_set_signal_handlers_enabled");
        // SAFETY: sets a flag of the library and the default action of the signals that a crash raises, so that a
        // crash ends the process at once. The library's own handlers wait for minutes and abort a clean exit.
        unsafe { set_signal_handlers_enabled(0) };
        Ok(Arc::new(Library { functions, _mapping: mapping }))
    }

    /// Opens a connection. All connections of a process share one engine, which the first one starts and the last
    /// one stops; `arguments` are those of `clickhouse local` and count for the first one only.
    pub(crate) fn connect(self: &Arc<Self>, arguments: &[String]) -> Result<Connection> {
        let arguments: Vec<CString> = std::iter::once("clickhouse")
            .chain(arguments.iter().map(String::as_str))
            .map(CString::new)
            .collect::<Result<_, _>>()
            .context("an argument of the engine contains a NUL byte")?;
        let mut pointers: Vec<*mut c_char> = arguments.iter().map(|a| a.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(pointers.len()).context("too many arguments for the engine")?;
        // SAFETY: `pointers` holds `count` NUL-terminated strings that outlive the call; the library copies them.
        let handle = unsafe { (self.functions.connect)(count, pointers.as_mut_ptr()) };
        let Some(handle) = NonNull::new(handle) else {
            bail!("the ClickHouse engine did not start; it wrote the reason to standard error");
        };
        Ok(Connection { library: Arc::clone(self), handle })
    }
}

/// A connection with a scope of its own for settings, parameters and temporary tables.
pub(crate) struct Connection {
    library: Arc<Library>,
    handle: NonNull<RawConnection>,
}

// SAFETY: the library ties no connection to a thread; `&mut self` on every call keeps the calls in sequence.
unsafe impl Send for Connection {}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: `handle` came from `connect` and is closed nowhere else.
        unsafe { (self.library.functions.close)(self.handle.as_ptr()) };
    }
}

impl Connection {
    /// Runs `sql` to its end and returns its whole result, in `format` unless `sql` names one.
    pub(crate) fn query(&mut self, sql: &[u8], format: &[u8]) -> Result<Output, Failure> {
        // SAFETY: the handle is open, and both texts outlive the call with the lengths given.
        let raw = unsafe {
            let connection = *self.handle.as_ptr();
            (self.library.functions.query)(
                connection,
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
            )
        };
        Response::new(&self.library, raw)?.read()
    }
}

/// A result object of the library.
struct Response<'a> {
    library: &'a Library,
    raw: RawResult,
}

impl<'a> Response<'a> {
    fn new(library: &'a Library, raw: RawResult) -> Result<Self, Failure> {
        if raw.is_null() {
            return Err(Failure(
                "Code: 1002. DB::Exception: The engine returned no result. (UNKNOWN_EXCEPTION)".into(),
            ));
        }
        Ok(Response { library, raw })
    }

    fn failure(&self) -> Result<(), Failure> {
        // SAFETY: `raw` is a live result; the text it points to lives as long as the result and is copied here.
        let text = unsafe {
            let error = (self.library.functions.error)(self.raw);
            if error.is_null() {
                return Ok(());
            }
            CStr::from_ptr(error).to_string_lossy().into_owned()
        };
        Err(Failure(text))
    }

    fn read(&self) -> Result<Output, Failure> {
        // The counters of a failed query are not initialised: nothing but the error may be read.
        self.failure()?;
        let functions = &self.library.functions;
        let number = |read: ResultNumber| {
            // SAFETY: `raw` is a live result without an error.
            unsafe { read(self.raw) }
        };
        // SAFETY: `raw` is a live result without an error; the buffer has the length that the result states and
        // is copied before the result is destroyed.
        let (data, elapsed) = unsafe {
            let (start, length) = ((functions.buffer)(self.raw), (functions.length)(self.raw));
            let data = if start.is_null() || length == 0 {
                Vec::new()
            } else {
                std::slice::from_raw_parts(start.cast::<u8>(), length).to_vec()
            };
            (data, (functions.elapsed)(self.raw))
        };
        let counters = Counters {
            result_rows: number(functions.result_rows),
            result_bytes: number(functions.result_bytes),
            read_rows: number(functions.read_rows),
            read_bytes: number(functions.read_bytes),
            written_rows: number(functions.written_rows),
            written_bytes: number(functions.written_bytes),
            elapsed,
        };
        Ok(Output { data, counters })
    }
}

impl Drop for Response<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` is a live result that is destroyed nowhere else.
        unsafe { (self.library.functions.destroy)(self.raw) };
    }
}

/// Makes UTC the time zone of the process, and with it that of the engine.
///
/// To be called while the process has one thread.
pub(crate) fn use_utc() {
    // SAFETY: no other thread runs yet that could read the environment at the same time.
    unsafe { std::env::set_var("TZ", "UTC") };
}
