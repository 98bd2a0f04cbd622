// The errors of this client. `kind` is the same string in every language.

import Foundation

public enum BatonError: Error, Sendable, CustomStringConvertible, LocalizedError {
    /// The storage has no login, or a login in progress can no longer be finished: show the login screen.
    case notLoggedIn(String)
    /// The login has ended, and the client has removed it from the storage.
    /// `confirmed` is false if the server has not yet confirmed the end.
    case loggedOut(reason: String?, confirmed: Bool)
    /// There was no answer in time. The login is kept, and the next call continues. `last` describes the last failure.
    case offline(last: String)
    /// The call was sent, and its outcome is unknown. Check it before a repetition. The login is kept.
    case answerLost(last: String, refused: Refused?)
    /// The record or the key cannot be used now. The login is kept: repeat the call.
    case storageUnavailable(String, cause: (any Error)?)
    /// The record cannot be parsed, or a newer client wrote it. It was not changed.
    case brokenStorage(String)
    /// The server returned an error.
    case refused(Refused)

    public var kind: String {
        switch self {
        case .notLoggedIn: "not_logged_in"
        case .loggedOut: "logged_out"
        case .offline: "offline"
        case .answerLost: "answer_lost"
        case .storageUnavailable: "storage_unavailable"
        case .brokenStorage: "broken_storage"
        case .refused: "refused"
        }
    }

    /// There is no login, or it has just ended: show the login screen.
    public var isLoggedOut: Bool { kind == "not_logged_in" || kind == "logged_out" }

    public var description: String {
        switch self {
        case .notLoggedIn(let message), .storageUnavailable(let message, _), .brokenStorage(let message): message
        case .loggedOut(let reason, _): "This login has ended (\(reason ?? "no reason given")). Log in again."
        case .offline(let last): "No answer in time. The login is kept. Last problem: \(last)"
        case .answerLost(let last, _): "The call may have been carried out, or not: \(last)"
        case .refused(let refused): refused.description
        }
    }

    public var errorDescription: String? { description }

    static let noSession = BatonError.notLoggedIn("This device has no login: log in.")
}

/// An error of the server. Switch on `code`: errors.md lists the codes. `problem` has all members of the answer.
public struct Refused: Sendable, Hashable, Masked {
    public let status: Int
    public let error: String
    public let code: String
    public let action: String
    public let reason: String?
    public let retryAfter: TimeInterval
    public let problem: [String: JSON]

    public var description: String {
        let detail = problem["detail"]?.text ?? problem["error_description"]?.text ?? "the server gave no explanation"
        let quotable = problem["request_id"]?.text.map { " [request \($0)]" } ?? ""
        return "\(status) \(code) (\(action)): \(detail)\(quotable)"
    }
}

/// A transport throws this if there is no answer. `sent`: the request may have arrived.
public struct NoAnswer: Error, Sendable {
    public let message: String
    public let sent: Bool

    public init(_ message: String, sent: Bool = true) { (self.message, self.sent) = (message, sent) }
}

/// An error of the program, noticed before anything is sent.
public struct InvalidInput: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}
