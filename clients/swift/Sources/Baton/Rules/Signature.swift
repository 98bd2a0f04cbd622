// HTTP Message Signatures (RFC 9421) in the profile of Baton: the tag `baton`.

import Foundation

private let fields = ["content-digest", "authorization", "idempotency-key", "baton-grant"]

/// Signs requests by the key with this identifier.
struct RequestSigner: Sendable {
    let keyId: String
    let sign: @Sendable (Data) async throws -> Data
}

/// Return the parameters and the signature base of a request.
func signatureBase(
    method: String, url: String, headers: [String: String], created: Int64, keyId: String, nonce: String
) throws -> (input: String, base: String) {
    guard let start = url.range(of: "://")?.upperBound else { throw InvalidInput("not a URL") }
    let rest = url[start...]
    let slash = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
    let mark = rest.firstIndex(of: "?") ?? rest.endIndex
    var covered = [("\"@method\"", method), ("\"@authority\"", String(rest[..<slash])), ("\"@path\"", String(rest[slash..<mark]))]
    for pair in rest[mark...].dropFirst().split(separator: "&") {
        let name = pair.prefix { $0 != "=" }
        covered.append(("\"@query-param\";name=\"\(name)\"", String(pair.dropFirst(name.count + 1))))
    }
    for name in fields { if let value = headers[name] { covered.append(("\"\(name)\"", value)) } }
    let names = covered.map(\.0).joined(separator: " ")
    let input = "(\(names));created=\(created);keyid=\"\(keyId)\";nonce=\"\(nonce)\";tag=\"baton\""
    covered.append(("\"@signature-params\"", input))
    return (input, covered.map { "\($0.0): \($0.1)" }.joined(separator: "\n"))
}

/// Sign a request. Return the two header fields to add.
func signatureFields(
    method: String, url: String, headers: [String: String], signer: RequestSigner, created: Int64, nonce: String
) async throws -> [String: String] {
    let signed = try signatureBase(method: method, url: url, headers: headers, created: created, keyId: signer.keyId, nonce: nonce)
    let signature = try await signer.sign(Data(signed.base.utf8)).base64EncodedString()
    return ["signature-input": "baton=\(signed.input)", "signature": "baton=:\(signature):"]
}

/// Return the Content-Digest of a body (RFC 9530).
func contentDigest(_ body: Data) -> String { "sha-256=:\(sha256(body).base64EncodedString()):" }

extension PublicJwk {
    /// The name of the key (RFC 7638). The members are in the order of their names.
    public var thumbprint: String {
        let last = kty == "OKP" ? "" : ",\"y\":\"\(y ?? "")\""
        return base64url(sha256(Data("{\"crv\":\"\(crv)\",\"kty\":\"\(kty)\",\"x\":\"\(x)\"\(last)}".utf8)))
    }
}
