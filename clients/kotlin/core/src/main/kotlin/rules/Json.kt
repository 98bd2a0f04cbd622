package baton.client

/**
 * JSON as values of Kotlin: maps, lists, strings, [Long] or [Double], booleans and null. The parser is strict (RFC 8259),
 * and also refuses a member that an object has twice: two programs could read such an object differently.
 */
public object Json {
    private const val DEEPEST = 500 // Deeper text could exhaust the stack.

    /** Parse a whole text, or throw [IllegalArgumentException]. */
    public fun parse(text: String): Any? = Parser(text).whole()

    /** Write a value. Other types than those of [parse], for example a class of the app, throw [IllegalArgumentException]. */
    public fun write(value: Any?): String = StringBuilder().also { write(value, it) }.toString()

    private fun write(value: Any?, out: StringBuilder) {
        when (value) {
            null, is Boolean, is Int, is Long -> out.append(value)
            is Double -> out.append(number(value))
            is String -> quote(value, out)
            is Map<*, *> -> {
                out.append('{')
                value.entries.forEachIndexed { at, (name, member) ->
                    if (at > 0) out.append(',')
                    quote(requireNotNull(name as? String) { "A member of a JSON object has a string as name." }, out)
                    out.append(':')
                    write(member, out)
                }
                out.append('}')
            }
            is List<*> -> {
                out.append('[')
                value.forEachIndexed { at, one ->
                    if (at > 0) out.append(',')
                    write(one, out)
                }
                out.append(']')
            }
            else -> throw IllegalArgumentException("JSON has no ${value::class.java.name}. Encode it, and give `body`.")
        }
    }

    private fun number(value: Double): String {
        require(value.isFinite()) { "JSON has no $value." }
        return if (value == Math.rint(value) && Math.abs(value) < 1e15) value.toLong().toString() else value.toString()
    }

    private fun quote(text: String, out: StringBuilder) {
        out.append('"')
        for (character in text) {
            when {
                character == '"' || character == '\\' -> out.append('\\').append(character)
                character < ' ' -> out.append("\\u00").append((character.code + 256).toString(16).substring(1))
                else -> out.append(character)
            }
        }
        out.append('"')
    }

    private class Parser(private val text: String) {
        private var at = 0

        fun whole(): Any? {
            val value = value(0)
            space()
            return if (at == text.length) value else fail()
        }

        private fun value(depth: Int): Any? {
            if (depth > DEEPEST) fail()
            space()
            return when (peek()) {
                '{' -> members(depth)
                '[' -> elements(depth)
                '"' -> string()
                't' -> word("true", true)
                'f' -> word("false", false)
                'n' -> word("null", null)
                else -> number()
            }
        }

        private fun members(depth: Int): Map<String, Any?> {
            val found = LinkedHashMap<String, Any?>()
            at++
            space()
            if (taken('}')) return found
            do {
                space()
                if (peek() != '"') fail()
                val name = string()
                space()
                if (!taken(':') || name in found) fail()
                found[name] = value(depth + 1)
                space()
            } while (taken(','))
            return if (taken('}')) found else fail()
        }

        private fun elements(depth: Int): List<Any?> {
            val found = ArrayList<Any?>()
            at++
            space()
            if (taken(']')) return found
            do {
                found += value(depth + 1)
                space()
            } while (taken(','))
            return if (taken(']')) found else fail()
        }

        private fun string(): String {
            val out = StringBuilder()
            at++
            while (true) {
                val character = peek()
                at++
                when {
                    character == '"' -> return out.toString()
                    character == '\\' -> out.append(escaped())
                    character < ' ' -> fail()
                    else -> out.append(character)
                }
            }
        }

        private fun escaped(): Char {
            val character = peek()
            at++
            return when (character) {
                '"', '\\', '/' -> character
                'b' -> '\b'
                'f' -> '\u000c'
                'n' -> '\n'
                'r' -> '\r'
                't' -> '\t'
                'u' -> {
                    val digits = text.substring(at, minOf(at + 4, text.length))
                    if (digits.length != 4 || !digits.all { it in '0'..'9' || it in 'a'..'f' || it in 'A'..'F' }) fail()
                    at += 4
                    digits.toInt(16).toChar()
                }
                else -> fail()
            }
        }

        private fun number(): Any {
            val start = at
            if (peek() == '-') at++
            if (!taken('0')) digits()
            val whole = at
            if (taken('.')) digits()
            if (taken('e') || taken('E')) {
                if (!taken('+')) taken('-')
                digits()
            }
            val written = text.substring(start, at)
            return (if (at == whole) written.toLongOrNull() else null) ?: written.toDouble()
        }

        private fun digits() {
            val start = at
            while (at < text.length && text[at] in '0'..'9') at++
            if (at == start) fail()
        }

        private fun <T> word(word: String, value: T): T {
            if (!text.startsWith(word, at)) fail()
            at += word.length
            return value
        }

        private fun space() {
            while (at < text.length && text[at] in " \t\n\r") at++
        }

        private fun peek(): Char = if (at < text.length) text[at] else fail()

        private fun taken(wanted: Char): Boolean = (at < text.length && text[at] == wanted).also { if (it) at++ }

        private fun fail(): Nothing = throw IllegalArgumentException("not JSON, at character $at")
    }
}
