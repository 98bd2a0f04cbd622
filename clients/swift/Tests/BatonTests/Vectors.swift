import Foundation
import Testing

@testable import Baton

/// The folder of the package.
let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

/// One shared vector.
struct Vector: Sendable, CustomTestStringConvertible {
    let members: [String: JSON]

    subscript(_ name: String) -> JSON? { members[name] }

    func has(_ name: String) -> Bool { members[name] != nil }

    func text(_ name: String) -> String { members[name]?.text ?? "" }

    func number(_ name: String) -> Double { members[name]?.double ?? .nan }

    func isTrue(_ name: String) -> Bool { members[name]?.isTrue ?? false }

    func vector(_ name: String) -> Vector { Vector(members: members[name]?.members ?? [:]) }

    func texts(_ name: String) -> [String: String] { vector(name).members.compactMapValues(\.text) }

    var testDescription: String { String((members["name"]?.text ?? "\(members)").prefix(120)) }
}

func vectors(_ name: String) -> [Vector] {
    let file = package.appendingPathComponent("../vectors/\(name).json")
    guard let bytes = try? Data(contentsOf: file), let all = try? JSON.parse(bytes).elements else { fatalError("\(file) cannot be read") }
    return all.map { Vector(members: $0.members ?? [:]) }
}

/// The answer of a vector, as a transport returns it.
func rawAnswer(_ answer: Vector) throws -> RawAnswer {
    let bytes = answer.has("bytes") ? try unbase64(answer.text("bytes")) : Data(answer.text("body").utf8)
    return RawAnswer(status: Int(answer.number("status")), headers: answer.texts("headers"), bytes: bytes, url: answer["url"]?.text)
}
