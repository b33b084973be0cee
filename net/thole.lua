-- thole.lua: what Wireshark and tshark show of thole's frames (docs/PROTOCOL.md).
--
--     tshark -X lua_script:net/thole.lua -r FILE
--
-- Frames are recognised by their magic on any UDP port. Fields are named after the members of the
-- structs of engine/wire_layout.h, so that a test can compare them one by one. Any bytes may come:
-- what does not fit is said as expert information, and never read. What the tables below say of a
-- kind is all that is known of it; the code behind them knows no kind but those with a payload.

local MAGIC = 0x464f4854 -- "THOF"
local VERSION = 1
local HEADER_BYTES = 88
local CRC_AT = 16
local FIRST_CLIENT_KIND = 32
local NODE_HEADER_BYTES = 64
local PAGE_BYTES = 4096
local MARK_BYTES = 16

local thole = Proto("thole", "thole replication")

local bits = bit32 or bit

-- ---- What there is. ----

local STATUSES = {
    [0] = "ok", "busy", "full", "not leader", "trimmed", "gap", "condition failed", "fenced",
    "no session", "forgotten",
}
local MENDS = {[0] = "absent", "faulty", "trimmed"}
local ROLES = {[0] = "follower", "candidate", "leader", "learner"}
local OUTCOMES = {
    [0] = "under way", "not the leader", "too early", "another is under way", "not a voter",
    "nobody heard",
}
local ENTRY_KINDS = {"no-op", "client records", "configuration", "trim"}
local RECORD_KINDS = {[0] = "append", "registration", "refusal"}
local ITEM_KINDS = {[0] = "fact", "counter", "drop"}

-- A struct: its name and its members in their order, each {name, bytes, more}. `more` may have:
-- hex, names (a table of words), set (of nodes), any (2^64 - 1 means none), flags (of a byte: {name,
-- mask}), text, zero (reserved: must be 0).
local function zero(bytes)
    return {"reserved", bytes, {zero = true}}
end

local MARK = {{"position", 8}, {"term_low", 4}, {"crc", 4, {hex = true}}}
local ENTRY_HEADER = {
    {"magic", 4, {hex = true}}, {"version", 2}, {"kind", 1, {names = ENTRY_KINDS}}, {"pages", 1},
    {"cluster", 8, {hex = true}}, {"term", 8}, {"index", 8}, {"previous_term", 8},
    {"position", 8}, {"first_offset", 8}, {"leader_time_ns", 8}, {"body_bytes", 4},
    {"record_count", 4}, {"commit_index", 8}, {"session_record_count", 4}, zero(8),
    {"crc", 4, {hex = true}},
}
local RECORD = {
    {"bytes", 4}, {"kind", 1, {names = RECORD_KINDS}}, zero(3), {"session", 8, {hex = true}},
    {"sequence", 8},
}
local ITEM = {
    {"value", 8}, {"kind", 1, {names = ITEM_KINDS}}, {"name_bytes", 1}, {"text_bytes", 1}, zero(5),
}
local HEADER = {
    {"magic", 4, {hex = true}}, {"version", 2}, {"kind", 1}, zero(1), {"from", 1}, {"to", 1},
    {"group", 2}, {"frame_bytes", 4}, {"crc", 4, {hex = true}}, {"counter", 4, {zero = true}},
    {"cluster", 8, {hex = true}}, {"from_store", 8, {hex = true}}, {"from_boot", 8, {hex = true}},
    {"to_boot", 8, {hex = true}}, {"term", 8}, {"token", 8, {hex = true}},
    {"tag", 16, {zero = true}},
}
local VOTE = {{"last_term", 8}, {"last_index", 8}, {"transfer", 1}, zero(7)}
local VOTE_REPLY = {{"granted", 1}, zero(7), {"regressed", 8, {set = true}},
    {"regressed_term", 8}, {"regressed_token", 8, {hex = true}}}
local ENTRY = {
    {"session", 4}, {"fragment_bytes", 2}, {"pages", 1}, zero(1), {"used_bytes", 4},
    {"offset", 4}, {"term", 8}, {"index", 8}, {"previous_term", 8}, {"position", 8},
    {"commit_index", 8}, {"last_mark.position", 8}, {"last_mark.term_low", 4},
    {"last_mark.crc", 4, {hex = true}},
}

-- Kinds by their number: the name, the struct's name, the fixed part, and what the payload is. The
-- members named in `tells` stand in the list of packets too.
local KINDS = {
    [1] = {"PRE_VOTE", "vote", VOTE, tells = {"last_term", "last_index"}},
    [2] = {"PRE_VOTE_REPLY", "vote_reply", VOTE_REPLY, tells = {"granted"}},
    [3] = {"VOTE", "vote", VOTE, tells = {"last_term", "last_index"}},
    [4] = {"VOTE_REPLY", "vote_reply", VOTE_REPLY, tells = {"granted"}},
    [5] = {"APPEND", "append", {
        {"session", 4}, {"heard_boot", 4}, {"prev_term", 8}, {"prev_index", 8},
        {"commit_index", 8}, {"regressed", 8, {set = true}},
    }, tells = {"prev_index", "commit_index"}},
    [6] = {"ENTRY", "entry", ENTRY, payload = "fragment",
        tells = {"index", "offset", "commit_index"}},
    [7] = {"ACK", "ack", {
        {"session", 4},
        {"flags", 1, {flags = {{"matched", 1}, {"bootstrapped", 2}, {"missing", 4}}}},
        {"probe", 1},
        {"frame_bytes", 2},
        {"hint_term", 8}, {"hint_index", 8}, {"verified_index", 8}, {"durable_index", 8},
        {"received_index", 8}, {"credit_position", 8}, {"space_position", 8},
        {"missing_index", 8}, {"missing_bitmap", 8, {hex = true}},
        {"bound_term", 8}, {"bound_index", 8},
    }, tells = {"verified_index", "durable_index"}},
    [8] = {"TIMEOUT_NOW", "timeout_now", {{"last_term", 8}, {"last_index", 8}}, tells = {}},
    [9] = {"PROBE", "probe", {{"session", 4}, {"number", 1}, zero(3)}, payload = "padding",
        tells = {"number"}},
    [10] = {"MEND_ASK", "mend_ask", {{"term", 8}, {"index", 8}, {"end_position", 8}},
        tells = {"term", "index"}},
    [11] = {"MEND_ENTRY", "entry", ENTRY, payload = "fragment", tells = {"term", "index", "offset"}},
    [12] = {"MEND_SAY", "mend_say", {
        {"what", 1, {names = MENDS}}, zero(7), {"term", 8}, {"index", 8}, {"last_term", 8},
        {"last_index", 8},
    }, tells = {"what", "term", "index"}},
    [32] = {"REQUEST", "request", {
        {"session", 8, {hex = true}}, {"first_sequence", 8}, {"expected_offset", 8, {any = true}},
        {"epoch", 4}, {"record_count", 4}, {"request_bytes", 4}, {"offset", 4},
    }, payload = "records", tells = {"first_sequence", "record_count"}},
    [33] = {"REPLY", "reply", {
        {"session", 8, {hex = true}}, {"first_sequence", 8}, {"first_offset", 8}, {"detail", 8},
        {"record_count", 4}, {"status", 1, {names = STATUSES}}, {"leader", 1}, zero(2),
    }, tells = {"status", "first_sequence", "first_offset", "record_count"}},
    [34] = {"READ", "read", {
        {"offset", 8}, {"skip", 4}, {"flags", 1, {flags = {{"linearizable", 1}, {"waits", 2}}}},
        zero(1), {"frame_bytes", 2},
    }, tells = {"offset"}},
    [35] = {"READ_REPLY", "read_reply", {
        {"offset", 8}, {"start_offset", 8}, {"committed_offset", 8}, {"skip", 4},
        {"record_count", 4}, {"status", 1, {names = STATUSES}}, {"leader", 1},
        {"flags", 1, {flags = {{"partial", 1}}}}, zero(5), {"term", 8},
    }, payload = "records", tells = {"status", "offset", "record_count"}},
    [36] = {"STATUS", "status", {zero(8)}, tells = {}},
    [37] = {"STATUS_REPLY", "status_reply", {
        {"role", 1, {names = ROLES}}, {"leader", 1},
        {"flags", 1, {flags = {{"durable", 1}, {"bootstrapped", 2}, {"takes", 4},
                               {"degraded", 8}, {"slowed", 16}, {"faulty", 32},
                               {"posix", 64}, {"bounded", 128}}}},
        {"more", 1, {flags = {{"unmended", 1}, {"full", 2}, {"diverged", 4}}}},
        {"smallest", 1},
        zero(3), {"term", 8}, {"commit_index", 8}, {"durable_index", 8}, {"start_offset", 8},
        {"end_offset", 8}, {"voters", 8, {set = true}}, {"waiting", 8, {set = true}},
        {"strangers", 8, {set = true}}, {"behind", 8, {set = true}}, {"frames_dropped", 8},
        {"regressed", 8, {set = true}},
    }, tells = {"role", "commit_index", "end_offset"}},
    [38] = {"OPEN", "open", {
        {"epoch", 4}, {"name_bytes", 1}, zero(3), {"name", 40, {text = true}},
    }, tells = {"epoch"}},
    [39] = {"OPEN_REPLY", "open_reply", {
        {"session", 8, {hex = true}}, {"next_sequence", 8}, {"epoch", 4},
        {"status", 1, {names = STATUSES}}, {"leader", 1}, zero(2),
    }, tells = {"status", "next_sequence", "epoch"}},
    [40] = {"TRANSFER", "transfer", {{"to", 1}, zero(7)}, tells = {"to"}},
    [41] = {"TRANSFER_REPLY", "transfer_reply", {
        {"outcome", 1, {names = OUTCOMES}}, {"leader", 1}, {"to", 1}, zero(5),
    }, tells = {"outcome"}},
    [42] = {"STATS", "stats", {{"first", 2}, zero(6)}, tells = {"first"}},
    [43] = {"STATS_REPLY", "stats_reply", {
        {"total", 2}, {"first", 2}, {"count", 2}, zero(2),
    }, payload = "items", tells = {"first", "count", "total"}},
}

-- ---- Fields, made of the tables. ----

local fields = {} -- By their whole name.
local list = {}

local function declare(name, field)
    if fields[name] == nil then
        fields[name] = field
        list[#list + 1] = field
    end
end

local function field_of(name, member)
    local bytes, more = member[2], member[3] or {}
    local title = member[1]:gsub("[_.]", " ")
    if more.text or bytes > 8 or bytes == 3 or bytes == 5 or bytes == 6 or bytes == 7 then
        return ProtoField.bytes(name, title)
    end
    local make = ({[1] = ProtoField.uint8, [2] = ProtoField.uint16, [4] = ProtoField.uint32,
                   [8] = ProtoField.uint64})[bytes]
    local as_hex = more.hex or more.set or more.flags
    return make(name, title, as_hex and base.HEX or base.DEC, more.names)
end

local function declare_struct(prefix, members)
    for _, member in ipairs(members) do
        local name = prefix .. "." .. member[1]
        local more = member[3] or {}
        if more.zero and member[1] == "reserved" then
            declare(name, ProtoField.bytes(name, "reserved"))
        else
            declare(name, field_of(name, member))
        end
        for _, flag in ipairs(more.flags or {}) do
            local whole = name .. "." .. flag[1]
            declare(whole, ProtoField.bool(whole, flag[1], 8, nil, flag[2]))
        end
    end
end

local kind_names = {}
for number, kind in pairs(KINDS) do
    kind_names[number] = kind[1]
    declare_struct("thole." .. kind[2], kind[3])
end
HEADER[3][3] = {names = kind_names}
declare_struct("thole", HEADER)
declare_struct("thole.entry_header", ENTRY_HEADER)
declare_struct("thole.mark", MARK)
declare_struct("thole.record", RECORD)
declare_struct("thole.item", ITEM)
declare("thole.record.payload", ProtoField.bytes("thole.record.payload", "payload"))
declare("thole.item.name", ProtoField.string("thole.item.name", "name"))
declare("thole.item.text", ProtoField.string("thole.item.text", "text"))
declare("thole.payload", ProtoField.bytes("thole.payload", "payload"))
declare("thole.crc.status", ProtoField.string("thole.crc.status", "checksum"))
thole.fields = list

local malformed = ProtoExpert.new("thole.malformed", "malformed", expert.group.MALFORMED,
                                  expert.severity.ERROR)
local wrong_crc = ProtoExpert.new("thole.crc.wrong", "wrong checksum", expert.group.CHECKSUM,
                                  expert.severity.ERROR)
local other_version = ProtoExpert.new("thole.version.other", "another version",
                                      expert.group.PROTOCOL, expert.severity.WARN)
thole.experts = {malformed, wrong_crc, other_version}
thole.prefs.check_crc = Pref.bool("Check CRCs", true, "CRC-32C of every frame")

-- ---- CRC-32C. ----

local crc_table = {}
for i = 0, 255 do
    local crc = i
    for _ = 1, 8 do
        local low = crc % 2
        crc = bits.rshift(crc, 1)
        if low == 1 then
            crc = bits.bxor(crc, 0x82f63b78)
        end
    end
    crc_table[i] = crc % 2^32
end

-- Of the first `count` bytes, the four from `hole` on counted as zeros.
local function crc32c(tvb, count, hole)
    local bytes = tvb:bytes(0, count)
    local crc = 0xffffffff
    for i = 0, count - 1 do
        local byte = bytes:get_index(i)
        if i >= hole and i < hole + 4 then
            byte = 0
        end
        local at = bits.band(bits.bxor(crc, byte), 0xff)
        crc = bits.bxor(bits.rshift(crc, 8), crc_table[at])
    end
    return bits.bxor(crc, 0xffffffff) % 2^32
end

-- ---- Dissecting. ----

local function complain(tree, text)
    tree:add_proto_expert_info(malformed, text)
end

-- Whether all bytes of a range are zero.
local function is_zero(range)
    local bytes = range:bytes()
    for i = 0, bytes:len() - 1 do
        if bytes:get_index(i) ~= 0 then
            return false
        end
    end
    return true
end

-- The nodes of a bitmap, as words.
local function nodes_of(value)
    local words = {}
    for half, word in ipairs({value:lower(), value:higher()}) do
        for i = 0, 31 do
            if math.floor(word / 2^i) % 2 == 1 then
                words[#words + 1] = tostring((half - 1) * 32 + i)
            end
        end
    end
    return #words == 0 and "nobody" or "nodes " .. table.concat(words, ", ")
end

local function add_member(tree, prefix, member, range)
    local more = member[3] or {}
    local item = tree:add_le(fields[prefix .. "." .. member[1]], range)
    if more.zero and not is_zero(range) then
        complain(item, member[1] .. " is not zero")
    end
    if more.set then
        item:append_text(" (" .. nodes_of(range:le_uint64()) .. ")")
    end
    if more.any and range:bytes():tohex() == "FFFFFFFFFFFFFFFF" then
        item:append_text(" (any)")
    end
    if more.names and more.names[range:le_uint()] == nil then
        complain(item, "no such " .. member[1])
    end
    for _, flag in ipairs(more.flags or {}) do
        item:add_le(fields[prefix .. "." .. member[1] .. "." .. flag[1]], range)
    end
end

-- Show the members that are there. Returns the byte behind the struct; nil: it was cut off.
local function add_struct(tree, prefix, members, tvb, at)
    for _, member in ipairs(members) do
        if at + member[2] > tvb:captured_len() then
            return nil
        end
        add_member(tree, prefix, member, tvb(at, member[2]))
        at = at + member[2]
    end
    return at
end

local function padded(bytes)
    return math.floor((bytes + 7) / 8) * 8
end

-- Records that lie whole within [at, last); returns how many there are, and the byte behind them.
local function add_records(tree, tvb, at, last)
    local count = 0
    while at + 24 <= last do
        local bytes = tvb(at, 4):le_uint()
        local whole = 24 + padded(bytes)
        if bytes > 60000 or at + whole > last then
            break
        end
        local record = tree:add(tvb(at, whole), "record " .. count)
        add_struct(record, "thole.record", RECORD, tvb, at)
        if bytes > 0 then
            record:add(fields["thole.record.payload"], tvb(at + 24, bytes))
        end
        at = at + whole
        count = count + 1
    end
    return count, at
end

local payloads = {}

-- A whole request, or a fragment of one; the records of a reply.
function payloads.records(tree, tvb, at, last, kind)
    local fixed = HEADER_BYTES
    local count, whole
    if kind == 32 then
        count = tvb(fixed + 28, 4):le_uint()
        whole = tvb(fixed + 36, 4):le_uint() == 0 and tvb(fixed + 32, 4):le_uint() == last - at
    else
        count = tvb(fixed + 28, 4):le_uint()
        whole = true
    end
    if not whole then
        tree:add(fields["thole.payload"], tvb(at, last - at)):append_text(" (a fragment)")
        return
    end
    local found, behind = add_records(tree, tvb, at, last)
    if found ~= count or behind ~= last then
        complain(tree, "its records do not fill its payload")
    end
end

-- The page marks that lie whole within a fragment, which begins at byte `first` of its entry.
local function add_marks(tree, tvb, at, last, first)
    local page = math.ceil((first + MARK_BYTES) / PAGE_BYTES) - 1 -- Whose mark begins at `first` or behind.
    while true do
        local mark_at = at + (page + 1) * PAGE_BYTES - MARK_BYTES - first
        if mark_at + MARK_BYTES > last then
            return
        end
        if mark_at >= at then
            local mark = tree:add(tvb(mark_at, MARK_BYTES), "mark of page " .. page)
            add_struct(mark, "thole.mark", MARK, tvb, mark_at)
        end
        page = page + 1
    end
end

function payloads.fragment(tree, tvb, at, last)
    if at == last then
        tree:append_text(" (a poll)")
        return
    end
    local offset = tvb(HEADER_BYTES + 12, 4):le_uint()
    local first = NODE_HEADER_BYTES + offset
    if first > 16 * PAGE_BYTES then
        complain(tree, "a fragment beyond every entry")
        return
    end
    tree:add(fields["thole.payload"], tvb(at, last - at))
    if offset == 0 and last - at >= 96 then
        local header = tree:add(tvb(at, 96), "entry header")
        local body = add_struct(header, "thole.entry_header", ENTRY_HEADER, tvb, at)
        local kind, body_bytes = tvb(at + 6, 1):le_uint(), tvb(at + 64, 4):le_uint()
        local page_end = at + PAGE_BYTES - MARK_BYTES - NODE_HEADER_BYTES
        if kind == 2 then
            add_records(tree, tvb, body, math.min(last, page_end, body + body_bytes))
        end
    end
    add_marks(tree, tvb, at, last, first)
end

function payloads.padding(tree, tvb, at, last)
    local range = tvb(at, last - at)
    tree:add(fields["thole.payload"], range)
    if string.find(range:raw(), "[^\0]") then
        complain(tree, "its padding is not zero")
    end
end

function payloads.items(tree, tvb, at, last)
    local count = 0
    while at + 16 <= last do
        local name_bytes, text_bytes = tvb(at + 9, 1):uint(), tvb(at + 10, 1):uint()
        local whole = 16 + padded(name_bytes + text_bytes)
        if at + whole > last then
            break
        end
        local item = tree:add(tvb(at, whole), "item")
        add_struct(item, "thole.item", ITEM, tvb, at)
        if name_bytes > 0 then
            item:add(fields["thole.item.name"], tvb(at + 16, name_bytes))
            item:append_text(" " .. tvb(at + 16, name_bytes):string())
        end
        if text_bytes > 0 then
            item:add(fields["thole.item.text"], tvb(at + 16 + name_bytes, text_bytes))
        end
        at = at + whole
        count = count + 1
    end
    if at ~= last or count ~= tvb(HEADER_BYTES + 4, 2):le_uint() then
        complain(tree, "its items do not fill its payload")
    end
end

local function check_crc(tree, tvb, kind, head_bytes, frame_bytes)
    local covered = kind >= FIRST_CLIENT_KIND and frame_bytes or head_bytes
    local status = "unchecked"
    if thole.prefs.check_crc and covered <= tvb:captured_len() then
        local found = crc32c(tvb, covered, CRC_AT)
        status = found == tvb(CRC_AT, 4):le_uint() and "good" or "bad"
        if status == "bad" then
            tree:add_proto_expert_info(wrong_crc, string.format("should be 0x%08x", found))
        end
    end
    tree:add(fields["thole.crc.status"], status):set_generated()
end

-- The line in the list of packets.
local function summary(tvb, kind)
    local function id(at)
        local number = tvb(at, 1):uint()
        return number == 0 and "client" or tostring(number)
    end
    local words = {kind[1], id(8) .. " > " .. id(9)}
    local term = tvb(56, 8):le_uint64()
    if term:lower() ~= 0 or term:higher() ~= 0 then
        words[#words + 1] = "term " .. tostring(term)
    end
    local at = HEADER_BYTES
    for _, member in ipairs(kind[3]) do
        for _, told in ipairs(kind.tells) do
            if told == member[1] then
                local value = tvb(at, member[2]):le_uint64()
                local names = (member[3] or {}).names
                words[#words + 1] = told:gsub("_", " ") .. " " ..
                                    (names and names[value:lower()] or tostring(value))
            end
        end
        at = at + member[2]
    end
    return table.concat(words, ", ")
end

local function fixed_bytes_of(kind)
    local bytes = 0
    for _, member in ipairs(kind[3]) do
        bytes = bytes + member[2]
    end
    return bytes
end

local function add_kind(tree, tvb, pinfo, number, kind)
    local head_bytes = HEADER_BYTES + fixed_bytes_of(kind)
    local frame_bytes = tvb:reported_len()
    if head_bytes > frame_bytes then
        complain(tree, "shorter than a " .. kind[1])
        return
    end
    check_crc(tree, tvb, number, head_bytes, frame_bytes)
    local fixed = tree:add(tvb(HEADER_BYTES), kind[1])
    if add_struct(fixed, "thole." .. kind[2], kind[3], tvb, HEADER_BYTES) == nil then
        return -- Not all of it was captured.
    end
    pinfo.cols.info = summary(tvb, kind)
    if kind[1] == "OPEN" then
        local name_bytes = tvb(HEADER_BYTES + 4, 1):uint()
        if name_bytes > 40 then
            complain(fixed, "a name of more than 40 bytes")
        elseif name_bytes > 0 then
            local name = tvb(HEADER_BYTES + 8, name_bytes):raw()
            if not name:find("[^ -~]") then
                fixed:append_text(" \"" .. name .. "\"")
            end
        end
    end
    if frame_bytes > head_bytes and kind.payload == nil then
        complain(tree, "a " .. kind[1] .. " has no payload")
    elseif kind.payload ~= nil and tvb:captured_len() == frame_bytes then
        payloads[kind.payload](fixed, tvb, head_bytes, frame_bytes, number)
    end
end

function thole.dissector(tvb, pinfo, root)
    pinfo.cols.protocol = "THOLE"
    local tree = root:add(thole, tvb())
    local version = tvb(4, 2):le_uint()
    if version ~= VERSION then
        add_struct(tree, "thole", {HEADER[1], HEADER[2]}, tvb, 0)
        local text = string.format("version %d; this dissector knows version %d", version, VERSION)
        tree:add_proto_expert_info(other_version, text)
        pinfo.cols.info = text
        return tvb:captured_len()
    end
    local behind = add_struct(tree, "thole", HEADER, tvb, 0)
    if tvb:reported_len() < HEADER_BYTES then
        complain(tree, "shorter than a header")
    end
    if behind == nil then
        return tvb:captured_len()
    end
    tree:append_text(string.format(", cluster %s", tvb(24, 8):le_uint64():tohex()))
    if tvb(12, 4):le_uint() ~= tvb:reported_len() then
        complain(tree, "of another length than it says")
    end
    local number = tvb(6, 1):uint()
    if KINDS[number] == nil then
        pinfo.cols.info = "unknown kind " .. number
        return tvb:captured_len()
    end
    add_kind(tree, tvb, pinfo, number, KINDS[number])
    return tvb:captured_len()
end

thole:register_heuristic("udp", function(tvb, pinfo, root)
    if tvb:captured_len() < 8 or tvb(0, 4):le_uint() ~= MAGIC then
        return false
    end
    thole.dissector(tvb, pinfo, root)
    return true
end)
