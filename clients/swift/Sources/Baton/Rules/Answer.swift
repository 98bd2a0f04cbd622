// Rule 9: an answer that is not Baton's is no answer. It is never a success, ends no login and moves no clock.

import Foundation

/// A 2xx answer. The names of its headers are in lower case.
public struct Answer: Sendable, Masked {
    public let status: Int
    public let headers: [String: String]
    public let bytes: Data

    /// Parse the body as JSON, or throw `InvalidInput`.
    public func json() throws -> JSON { try JSON.parse(bytes) }

    /// Decode the body with `JSONDecoder`.
    public func decoded<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value { try JSONDecoder().decode(type, from: bytes) }

    public var description: String { "Answer(status: \(status))" }
}

/// An answer of Baton. A refusal has `refused`.
struct Ours: Sendable {
    let answer: Answer
    let members: [String: JSON]
    let refused: Refused?
}

enum ReadAnswer: Sendable {
    case foreign(String)
    case ours(Ours)
}

/// Read an answer of Baton, or return why it is not Baton's. `team`: a route of the app, which may send any media type.
func readAnswer(_ raw: RawAnswer, url: String, method: String, team: Bool) -> ReadAnswer {
    let headers = raw.headers
    let status = raw.status
    let media = (headers["content-type"] ?? "").components(separatedBy: ";")[0].trimmingCharacters(in: .whitespaces).lowercased()
    let isJSON = media == "application/json" || media == "application/problem+json"
    let said = "\(status) \(media)".trimmingCharacters(in: .whitespaces)
    guard isRequestId(headers["baton-request-id"] ?? "") else {
        return .foreign("\(said) without Baton-Request-Id, perhaps from a captive portal, a firewall or a proxy")
    }
    if let from = raw.url, from != url { return .foreign("\(said) after a redirect") }
    guard (200...299).contains(status) || (400...599).contains(status) else {
        return .foreign("\(said) with a status that Baton does not send")
    }
    if !isStorable(headers), (seconds(headers["age"]) ?? 0) > 0 { return .foreign("\(said) from a cache, which must not store it") }
    guard ["", "identity"].contains((headers["content-encoding"] ?? "").lowercased()) else {
        return .foreign("\(said) with an encoding that was not requested")
    }
    let empty = raw.bytes.isEmpty && (status < 300 || method == "HEAD")
    guard empty || isJSON || team else { return .foreign("\(said) which is not JSON") }
    let parsed = empty || !isJSON ? JSON.object([:]) : try? JSON.parse(raw.bytes)
    guard let parsed, team || parsed.members != nil else { return .foreign("\(said) with a body that Baton does not send") }
    let members = parsed.members ?? [:]
    guard team || status < 400 || (members["code"]?.text != nil && members["action"]?.text != nil) else {
        return .foreign("\(said) without code and action")
    }
    let answer = Answer(status: status, headers: headers, bytes: raw.bytes)
    return .ours(Ours(answer: answer, members: members, refused: status < 300 ? nil : refusal(status, headers, members)))
}

/// Read either dialect of refusals. A route of the app may leave out `code` and `action`: the status gives them.
private func refusal(_ status: Int, _ headers: [String: String], _ problem: [String: JSON]) -> Refused {
    Refused(
        status: status,
        error: problem["error"]?.text ?? "",
        code: problem["code"]?.text ?? "http_\(status)",
        action: problem["action"]?.text ?? (status == 429 || status >= 500 ? "retry" : "fix_request"),
        reason: problem["reason"]?.text,
        retryAfter: seconds(headers["retry-after"]) ?? 0,
        problem: problem
    )
}

private func isRequestId(_ text: String) -> Bool {
    (8...64).contains(text.utf8.count) && text.unicodeScalars.allSatisfy { $0 == "-" || ($0.isASCII && Character($0).isLetter) || isDigit($0) }
}

private func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }

/// Return the server's time of an answer of Baton, or nil. An answer with `Age` comes from a cache, and so does its time.
func serverTime(_ headers: [String: String], _ members: [String: JSON]) -> TimeInterval? {
    if headers["age"] != nil { return nil }
    return seconds(headers["baton-time"]) ?? (isStorable(headers) ? nil : seconds(members["server_time"]))
}

/// Read a time or a duration in whole seconds, or nil.
func seconds(_ stated: String?) -> TimeInterval? {
    guard let stated, (1...12).contains(stated.utf8.count), stated.unicodeScalars.allSatisfy(isDigit) else { return nil }
    return TimeInterval(stated)
}

func seconds(_ stated: JSON?) -> TimeInterval? {
    switch stated {
    case .integer(let whole): seconds("\(whole)")
    case .string(let text): seconds(text)
    default: nil
    }
}

private func isStorable(_ headers: [String: String]) -> Bool { !(headers["cache-control"] ?? "").lowercased().contains("no-store") }
