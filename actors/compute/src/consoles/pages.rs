//! The pages that show a screen in a browser: files of noVNC, which is none of this cloud's code.

use std::{
    io::{ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

use axum::{
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use updraft_runtime::Env;

/// Largest file; noVNC's are a tenth of it.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The page that an address of a screen names.
const PAGE: &str = "vnc_lite.html";

/// What every file is served with: the address of a page has a token in it, which is told to nobody.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

/// A file below the folder.
pub(super) async fn serve(env: &Env, folder: &Path, path: &str) -> Response {
    let Some(file) = below(folder, path) else { return missing() };
    let (kind, page) = (content_type(&file), folder.join(PAGE));
    let read = env.blocking(move || read(&file).map_err(|error| (error, page.is_file()))).await;
    match read {
        Ok(Ok(bytes)) => (HEADERS, [(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Ok(Err((_, false))) => not_installed(folder),
        Ok(Err((error, true))) if error.kind() == ErrorKind::NotFound => missing(),
        Ok(Err((error, true))) => {
            tracing::warn!(path, %error, "a page of consoles cannot be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "There is no such page of consoles.\n").into_response()
}

fn not_installed(folder: &Path) -> Response {
    let words = format!(
        "The pages that show a screen are not on this control node: there is no {PAGE} in {}. Install Debian's \
         package novnc there, or set novnc_dir to where they are.\n",
        folder.display()
    );
    tracing::warn!("{}", words.trim_end());
    (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
}

/// The file that a path names, if it is one below the folder.
fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && path.components().next().is_some()).then(|| folder.join(path))
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let open = std::fs::File::open(file)?;
    if !open.metadata()?.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let mut bytes = Vec::new();
    open.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(std::io::Error::other("it is too large for a page"));
    }
    Ok(bytes)
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff" => "font/woff",
        "oga" => "audio/ogg",
        "mp3" => "audio/mpeg",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn served(folder: &Path, path: &str) -> (StatusCode, String, String) {
        let response = serve(&Env::real(), folder, path).await;
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn files_below_the_folder_are_served_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("pages");
        std::fs::create_dir_all(pages.join("core")).unwrap();
        std::fs::write(folder.path().join("secret"), "a secret").unwrap();
        std::fs::write(pages.join(PAGE), "a page").unwrap();
        std::fs::write(pages.join("core/rfb.js"), "a script").unwrap();
        let (status, kind, body) = served(&pages, "core/rfb.js").await;
        assert_eq!((status, &*kind), (StatusCode::OK, "text/javascript; charset=utf-8"));
        assert_eq!(body, "a script");
        for path in ["../secret", "core/../../secret", "/etc/passwd", "", "core", "none.js"] {
            let (status, _, body) = served(&pages, path).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn a_folder_without_pages_says_what_to_install() {
        let folder = tempfile::tempdir().unwrap();
        let (status, _, body) = served(folder.path(), PAGE).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("novnc") && body.contains("novnc_dir"), "{body}");
    }
}
