// What a client does next: the table of rules. Its rows are tried in order, and the first that applies decides.
// `attempts.json` of the vectors lists the situations. A test deletes each row in turn: a vector must fail.

import Foundation

/// What was asked. `time`: without a token.
enum Verb: String, Sendable { case call, register, login, factor, exchange, revoke, time }

/// `nothing`: no answer, an incomplete one, or a foreign one (rule 9).
enum Came: String, Sendable { case notSent = "not_sent", nothing, answer }

enum Step: String, Sendable {
    case done, pause, sync, answerLost = "answer_lost", exchange, stepUp = "step_up", returnStep = "return_step"
    case returnSession = "return_session", newAttempt = "new_attempt", readStorage = "read_storage", askAgain = "ask_again"
    case rule8 = "rule_8", loggedOut = "logged_out", attest, refused, offline
}

/// The facts about the operation of a flow, after a refusal.
struct Facts: Sendable {
    var exchanged = false // This call has exchanged its token.
    var renewable = false // The token can be exchanged.
    var moved = false // Storage does not hold the token that was sent any more.
    var continued = false // This call went on with a newer token.
    var grants = 0 // Grants that this call has used.
    var confirm = false // The caller can ask the person.
    var superseded = 0 // Earlier `superseded` answers to this exchange.
    var session = false // Another process has finished this login.
    var anew = false // This login has drawn a second attempt.
    var evidence = false // The caller can make evidence.
    var attested = false // This request had evidence.
}

struct Situation: Sendable {
    var verb: Verb
    var repeatable: Bool // Two executions have one effect.
    var keyed: Bool // The caller gave an idempotency key.
    var came: Came
    var status = 0
    var error = ""
    var code = ""
    var action = ""
    var defects: Int // `server_error` in a row, with this one.
    var synced: Bool // The clock was set for this request.
    var pause: TimeInterval // The next pause.
    var left: TimeInterval // The rest of the deadline, in seconds.
    var facts = Facts()

    /// Pause and send again with a fresh signature and the same attempt, if there is time (row 14).
    fileprivate var again: Step { pause < left ? .pause : status == 429 ? .refused : .offline }
    fileprivate var isLogin: Bool { verb == .register || verb == .login || verb == .factor }
    fileprivate var isDefect: Bool { code == "server_error" && defects >= defectsMost }
}

struct Row: Sendable {
    let name: String
    let step: @Sendable (Situation) -> Step?
}

let rows: [Row] = [
    Row(name: "1 success") { $0.came == .answer && $0.status < 300 ? .done : nil },
    Row(name: "2 not sent") { $0.came == .notSent ? $0.again : nil },
    Row(name: "3 refused before any effect") { $0.status == 429 ? $0.again : nil },
    Row(name: "5 the outcome is unknown, or a defect") { s in
        if s.action != "check_outcome" && !s.isDefect { return nil }
        if !s.repeatable || (s.keyed && (s.isDefect || s.code != "server_error")) { return .answerLost }
        return s.isDefect ? .refused : s.again // With a key, the next answer says whether the outcome is known.
    },
    Row(name: "3 no answer") { s in
        // With row 4: `replayed_nonce` has the action `retry`. An HTTP stack has sent the same bytes twice.
        let busy = s.action == "retry" && s.code != "superseded"
        return s.came == .nothing || busy ? (s.repeatable ? s.again : .answerLost) : nil
    },
    Row(name: "6 the clock is wrong") { $0.action == "sync_clock" && !$0.synced ? .sync : nil },
    Row(name: "7 the token has expired") { s in
        s.verb == .call && s.action == "exchange" && s.facts.renewable && !s.facts.exchanged ? .exchange : nil
    },
    Row(name: "8 a step-up") { $0.action == "step_up" && $0.facts.confirm && $0.facts.grants < grantsMost ? .stepUp : nil },
    Row(name: "9 a second factor") { $0.isLogin && ["prove_factor", "enrol_factor"].contains($0.action) ? .returnStep : nil },
    Row(name: "10 superseded") { s in
        if s.code != "superseded" || !(s.verb == .exchange || s.isLogin) { return nil }
        if s.verb == .exchange {
            if s.facts.moved { return .readStorage }
            return s.facts.superseded > 0 ? .rule8 : s.pause < s.left ? .askAgain : .offline
        }
        if s.facts.session { return .returnSession }
        return s.facts.anew || s.verb == .factor ? .refused : .newAttempt
    },
    Row(name: "11 the session has ended") { s in
        let own = s.verb == .call || s.verb == .exchange || s.verb == .revoke
        if !own || s.action != "log_in" || !["invalid_token", "invalid_grant"].contains(s.error) { return nil }
        if s.verb == .revoke { return .done }
        return !s.facts.moved ? .loggedOut : s.facts.continued ? .refused : .readStorage
    },
    Row(name: "12 evidence of the app") { $0.action == "attest" && $0.facts.evidence && !$0.facts.attested ? .attest : nil },
]

/// Return what to do next. Any other refusal, and an unknown action, is `refused` (row 13).
func next(_ situation: Situation, rows: [Row] = rows) -> Step {
    for row in rows { if let step = row.step(situation) { return step } }
    return .refused
}
