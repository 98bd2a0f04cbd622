// JSON as values. The parser is strict (RFC 8259), and also refuses a member that an object has twice: two programs could
// read such an object differently.

import Foundation

public enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([String: JSON])

    /// Parse a whole text, or throw `InvalidInput`.
    public static func parse(_ bytes: Data) throws -> JSON {
        guard textOf(bytes) != nil else { throw InvalidInput("not UTF-8") }
        var parser = Parser(text: [UInt8](bytes))
        return try parser.whole()
    }

    /// Write the value. Throw `InvalidInput` for a number that is not finite.
    public func written() throws -> Data {
        var out = ""
        try write(to: &out)
        return Data(out.utf8)
    }

    /// A member of an object, or nil.
    public subscript(_ name: String) -> JSON? {
        if case .object(let members) = self { members[name] } else { nil }
    }

    public var text: String? { if case .string(let text) = self { text } else { nil } }
    public var members: [String: JSON]? { if case .object(let members) = self { members } else { nil } }
    public var elements: [JSON]? { if case .array(let elements) = self { elements } else { nil } }
    public var isTrue: Bool { self == .bool(true) }

    public var double: Double? {
        switch self {
        case .integer(let whole): Double(whole)
        case .number(let number): number
        default: nil
        }
    }

    private func write(to out: inout String) throws {
        switch self {
        case .null: out += "null"
        case .bool(let value): out += value ? "true" : "false"
        case .integer(let whole): out += "\(whole)"
        case .number(let number):
            guard number.isFinite else { throw InvalidInput("JSON has no \(number).") }
            out += number == number.rounded() && abs(number) < 1e15 ? "\(Int64(number))" : "\(number)"
        case .string(let text): quote(text, to: &out)
        case .array(let elements):
            out += "["
            for (at, element) in elements.enumerated() {
                if at > 0 { out += "," }
                try element.write(to: &out)
            }
            out += "]"
        case .object(let members):
            out += "{"
            for (at, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if at > 0 { out += "," }
                quote(member.key, to: &out)
                out += ":"
                try member.value.write(to: &out)
            }
            out += "}"
        }
    }

    private func quote(_ text: String, to out: inout String) {
        out += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": out += "\\\(scalar)"
            case _ where scalar.value < 0x20: out += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: out.unicodeScalars.append(scalar)
            }
        }
        out += "\""
    }
}

// No literal `nil`: in place of a missing `JSON?`, the compiler would make JSON's null of it.
extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(Dictionary(elements) { _, last in last }) }
}

extension JSON: Encodable {
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let whole): try container.encode(whole)
        case .number(let number): try container.encode(number)
        case .string(let text): try container.encode(text)
        case .array(let elements): try container.encode(elements)
        case .object(let members): try container.encode(members)
        }
    }
}

private struct Parser {
    let text: [UInt8]
    var at = 0
    private let deepest = 200 // Deeper text could exhaust the stack.

    init(text: [UInt8]) { self.text = text }

    mutating func whole() throws -> JSON {
        let value = try value(0)
        space()
        guard at == text.count else { throw wrong }
        return value
    }

    private var wrong: InvalidInput { InvalidInput("not JSON, at byte \(at)") }

    private mutating func value(_ depth: Int) throws -> JSON {
        guard depth <= deepest else { throw wrong }
        space()
        switch try peek() {
        case UInt8(ascii: "{"): return try object(depth)
        case UInt8(ascii: "["): return try array(depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func object(_ depth: Int) throws -> JSON {
        var found: [String: JSON] = [:]
        at += 1
        space()
        if taken("}") { return .object(found) }
        repeat {
            space()
            guard try peek() == UInt8(ascii: "\"") else { throw wrong }
            let name = try string()
            space()
            guard taken(":"), found[name] == nil else { throw wrong }
            found[name] = try value(depth + 1)
            space()
        } while taken(",")
        guard taken("}") else { throw wrong }
        return .object(found)
    }

    private mutating func array(_ depth: Int) throws -> JSON {
        var found: [JSON] = []
        at += 1
        space()
        if taken("]") { return .array(found) }
        repeat {
            found.append(try value(depth + 1))
            space()
        } while taken(",")
        guard taken("]") else { throw wrong }
        return .array(found)
    }

    private mutating func string() throws -> String {
        var units: [UInt16] = []
        var bytes: [UInt8] = []
        var out = ""
        func plain() { // Append the text before an escape. `escapes` appends the escapes before text.
            out += String(decoding: bytes, as: UTF8.self)
            bytes = []
        }
        func escapes() {
            out += String(decoding: units, as: UTF16.self)
            units = []
        }
        at += 1
        while true {
            let byte = try peek()
            at += 1
            switch byte {
            case UInt8(ascii: "\""):
                plain()
                escapes()
                return out
            case UInt8(ascii: "\\"):
                plain()
                units.append(try escaped())
            case 0..<0x20: throw wrong
            default:
                if !units.isEmpty { escapes() }
                bytes.append(byte)
            }
        }
    }

    private mutating func escaped() throws -> UInt16 {
        let byte = try peek()
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return UInt16(byte)
        case UInt8(ascii: "b"): return 8
        case UInt8(ascii: "f"): return 12
        case UInt8(ascii: "n"): return 10
        case UInt8(ascii: "r"): return 13
        case UInt8(ascii: "t"): return 9
        case UInt8(ascii: "u"):
            let digits = text[at..<min(at + 4, text.count)]
            guard digits.count == 4, digits.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }),
                let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
            else { throw wrong }
            at += 4
            return unit
        default: throw wrong
        }
    }

    private mutating func number() throws -> JSON {
        let start = at
        _ = taken("-")
        if !taken("0") { try digits() }
        let whole = at
        if taken(".") { try digits() }
        if taken("e") || taken("E") {
            if !taken("+") { _ = taken("-") }
            try digits()
        }
        let written = String(decoding: text[start..<at], as: UTF8.self)
        if at == whole, let integer = Int64(written) { return .integer(integer) }
        guard let double = Double(written), double.isFinite else { throw wrong }
        return .number(double)
    }

    private mutating func digits() throws {
        let start = at
        while at < text.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[at]) { at += 1 }
        guard at > start else { throw wrong }
    }

    private mutating func word(_ word: String, _ value: JSON) throws -> JSON {
        guard text[at...].starts(with: word.utf8) else { throw wrong }
        at += word.utf8.count
        return value
    }

    private mutating func space() {
        while at < text.count, [0x20, 0x09, 0x0a, 0x0d].contains(text[at]) { at += 1 }
    }

    private func peek() throws -> UInt8 {
        guard at < text.count else { throw wrong }
        return text[at]
    }

    private mutating func taken(_ wanted: Unicode.Scalar) -> Bool {
        guard at < text.count, text[at] == UInt8(ascii: wanted) else { return false }
        at += 1
        return true
    }
}
