// Base URLs, paths, queries and keys of calls. The signed URL must be the sent URL, so this client parses URLs itself:
// platforms resolve dot segments and rewrite hosts, each in another way.

import Foundation

private let local = ["localhost", "127.0.0.1", "[::1]"]
private let letters = Set("abcdefghijklmnopqrstuvwxyz".utf8)
private let digits = Set("0123456789".utf8)
private let hexDigits = digits.union("abcdef".utf8)
private let anyHex = hexDigits.union("ABCDEF".utf8)
private let alphanumeric = letters.union("ABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8).union(digits)
private let unreserved = alphanumeric.union("-._*".utf8)
private let inPaths = alphanumeric.union("-._~!$&'()*+,;=:@/".utf8)
private let inLabels = letters.union(digits).union("_-".utf8)

/// A base URL. `origin` is `https://host[:port]`, as it is sent. `authority` is the host and the port, if it is not the
/// default of the scheme. `prefix` is the path, without trailing slashes.
struct Base: Equatable, Sendable {
    let origin: String
    let authority: String
    let prefix: String
}

/// Read a base URL, or throw `InvalidInput`: it is an error of the program. `plainHttp` is for a simulator.
func readBaseURL(_ url: String, plainHttp: Bool = false) throws -> Base {
    let wrong = InvalidInput("baseURL must be https://host[:port][/path], the host in ASCII and canonical.")
    guard url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }),
        let colon = url.range(of: "://")
    else { throw wrong }
    let scheme = url[..<colon.lowerBound].lowercased()
    let rest = url[colon.upperBound...]
    let slash = rest.firstIndex(of: "/") ?? rest.endIndex
    let entry = rest[..<slash].lowercased()
    let bracket = entry.hasPrefix("[") ? entry.firstIndex(of: "]") : entry.startIndex
    guard scheme == "https" || scheme == "http", let bracket else { throw wrong }
    let end = entry[bracket...].firstIndex(of: ":") ?? entry.endIndex
    let host = String(entry[..<end])
    let port = end == entry.endIndex ? nil : entry[entry.index(after: end)...]
    guard isHost(host), port.map({ (1...5).contains($0.utf8.count) && $0.utf8.allSatisfy(digits.contains) }) ?? true,
        port.flatMap({ Int($0) }).map({ (1...65535).contains($0) }) ?? true
    else { throw wrong }
    guard scheme == "https" || plainHttp || local.contains(host) else {
        throw InvalidInput("baseURL must be https. Plain http is for localhost, or for a simulator with `plainHttp`.")
    }
    var prefix = String(rest[slash...])
    while prefix.hasSuffix("/") { prefix.removeLast() }
    if !prefix.isEmpty { try checkPath(prefix) }
    let number = port.flatMap { Int($0) }
    let authority = number == nil || number == (scheme == "https" ? 443 : 80) ? host : "\(host):\(number!)"
    return Base(origin: "\(scheme)://\(authority)", authority: authority, prefix: prefix)
}

private func isHost(_ host: String) -> Bool {
    if host.hasPrefix("[") {
        guard host.hasSuffix("]") else { return false }
        let inner = String(host.dropFirst().dropLast())
        return canonicalIPv6(inner) == inner
    }
    let labels = host.components(separatedBy: ".")
    let last = labels.count > 1 && labels.last == "" ? labels[labels.count - 2] : labels.last ?? ""
    let isHex = last.hasPrefix("0x") && last.dropFirst(2).utf8.allSatisfy(hexDigits.contains)
    if isHex || (!last.isEmpty && last.utf8.allSatisfy(digits.contains)) { // Platforms read this as IPv4.
        return labels.count == 4 && labels.allSatisfy { label in Int(label).map { $0 < 256 && "\($0)" == label } ?? false }
    }
    return host.utf8.count <= 253 && labels.allSatisfy { label in
        !label.isEmpty && !label.hasPrefix("-") && !label.hasSuffix("-") && label.utf8.allSatisfy(inLabels.contains)
    }
}

/// Return the canonical form of an IPv6 address (RFC 5952), or nil.
private func canonicalIPv6(_ address: String) -> String? {
    let halves = address.components(separatedBy: "::").map { $0.isEmpty ? [] : $0.components(separatedBy: ":") }
    let count = halves.reduce(0) { $0 + $1.count }
    guard halves.count <= 2, halves.count == 2 ? count <= 7 : count == 8,
        halves.joined().allSatisfy({ (1...4).contains($0.utf8.count) && $0.utf8.allSatisfy(hexDigits.contains) })
    else { return nil }
    let all = (halves[0] + Array(repeating: "0", count: 8 - count) + halves.dropFirst().flatMap { $0 }).map { Int($0, radix: 16) ?? 0 }
    let runs = all.indices.map { start in all[start...].prefix { $0 == 0 }.count }
    let length = runs.max() ?? 0
    func hex(_ groups: ArraySlice<Int>) -> String { groups.map { String($0, radix: 16) }.joined(separator: ":") }
    guard length >= 2, let start = runs.firstIndex(of: length) else { return hex(all[...]) }
    return "\(hex(all[..<start]))::\(hex(all[(start + length)...]))"
}

/// Check the path of a call: RFC 3986, without dot segments, which platforms resolve.
func checkPath(_ path: String) throws {
    let bytes = Array(path.utf8)
    func isHex(_ at: Int) -> Bool { at < bytes.count && anyHex.contains(bytes[at]) }
    let legal = bytes.indices.allSatisfy { at in
        inPaths.contains(bytes[at]) || (bytes[at] == UInt8(ascii: "%") && isHex(at + 1) && isHex(at + 2))
    }
    let dots = path.components(separatedBy: "/").contains { segment in
        let plain = segment.lowercased().replacingOccurrences(of: "%2e", with: ".")
        return plain == "." || plain == ".."
    }
    guard path.hasPrefix("/"), legal, !dots else {
        throw InvalidInput("A path begins with /, is percent-encoded, and has no dot segments. Use `query` for the query.")
    }
}

/// Encode a name or value of the query as RFC 9421 section 2.2.8 signs it.
func percentEncoded(_ text: String) -> String {
    text.utf8.map { byte in
        unreserved.contains(byte) ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
    }.joined()
}

/// Encode a query or a form. A dictionary has no order, so the names are sorted.
func encodeQuery(_ query: [String: String]) -> String {
    query.sorted { $0.key < $1.key }.map { "\(percentEncoded($0.key))=\(percentEncoded($0.value))" }.joined(separator: "&")
}

/// Write an Idempotency-Key as a String (RFC 8941), or throw `InvalidInput`.
func quotedKey(_ key: String) throws -> String {
    let legal = key.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
    guard legal, (16...128).contains(key.utf8.count) else {
        throw InvalidInput("An idempotency key has 16 to 128 visible ASCII characters, without quotes and backslashes.")
    }
    return "\"\(key)\""
}
