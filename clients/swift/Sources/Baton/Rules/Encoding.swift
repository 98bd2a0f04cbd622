// Text, base64 and random names.

import Foundation

/// Decode strict UTF-8, or return nil.
func textOf(_ bytes: Data) -> String? {
    let text = String(decoding: bytes, as: UTF8.self) // It repairs what is malformed, and keeps a byte order mark.
    return text.utf8.elementsEqual(bytes) ? text : nil
}

func base64url(_ bytes: Data) -> String {
    bytes.base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
        .replacingOccurrences(of: "=", with: "")
}

/// Decode base64 or base64url, with or without padding, or throw `InvalidInput`.
func unbase64(_ text: String) throws -> Data {
    let plain = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
    let bare = plain.replacingOccurrences(of: "=", with: "")
    guard let bytes = Data(base64Encoded: bare + String(repeating: "=", count: (4 - bare.utf8.count % 4) % 4)) else {
        throw InvalidInput("not base64")
    }
    return bytes
}

/// Draw random bytes of the system.
func randomBytes(_ count: Int) -> Data {
    var generator = SystemRandomNumberGenerator()
    return Data((0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) })
}

/// Draw 128 random bits: an attempt or a nonce.
func randomName() -> String { base64url(randomBytes(16)) }
