-- A Wireshark dissector for everything the lottery's hub speaks on its port, in both directions: `case-id`, `text`,
-- `key-value`, `binary`, `csv`, `native` and the echo exchange. docs/PROTOCOLS.md describes the formats.
--
--   tshark -X lua_script:tools/loteria.lua -d tcp.port==12345,loteria -Y loteria …
--
-- or copy it to Wireshark's plugin folder. The dialect of a conversation is found from its first bytes, as the hub
-- finds it, and remembered. Every field can be filtered on: loteria.dialect, loteria.agency, loteria.bets, …

local loteria = Proto("loteria", "Lotería")

local f = {
  dialect = ProtoField.string("loteria.dialect", "Dialect"),
  request = ProtoField.string("loteria.request", "Request"),
  answer = ProtoField.string("loteria.answer", "Answer"),
  agency = ProtoField.uint32("loteria.agency", "Agency"),
  length = ProtoField.uint32("loteria.length", "Length", base.DEC, nil, nil, "As the frame's header says it"),
  bets = ProtoField.uint32("loteria.bets", "Bets"),
  bet = ProtoField.none("loteria.bet", "Bet"),
  bet_agency = ProtoField.uint32("loteria.bet.agency", "Agency"),
  first_name = ProtoField.string("loteria.bet.first_name", "First name"),
  last_name = ProtoField.string("loteria.bet.last_name", "Last name"),
  document = ProtoField.string("loteria.bet.document", "Document"),
  birthdate = ProtoField.string("loteria.bet.birthdate", "Birthdate"),
  number = ProtoField.uint32("loteria.bet.number", "Number"),
  winners = ProtoField.uint32("loteria.winners", "Winners"),
  winner = ProtoField.string("loteria.winner", "Winner", base.UNICODE, "The document of a winner"),
  message = ProtoField.string("loteria.message", "Message"),
  sequence = ProtoField.uint64("loteria.sequence", "Sequence number"),
  next = ProtoField.uint64("loteria.next", "Next sequence number", base.DEC, nil, nil, "All below it are stored"),
  batches = ProtoField.uint64("loteria.batches", "Batches stored"),
  bets_stored = ProtoField.uint64("loteria.bets_stored", "Bets stored"),
  status = ProtoField.uint8("loteria.status", "Status"),
  code = ProtoField.uint16("loteria.code", "Code"),
  checksum = ProtoField.uint32("loteria.checksum", "CRC-32C", base.HEX),
}
loteria.fields = f

local malformed = ProtoExpert.new("loteria.malformed", "Not a frame of this dialect",
  expert.group.MALFORMED, expert.severity.ERROR)
local bad_checksum = ProtoExpert.new("loteria.checksum.bad", "Wrong checksum", expert.group.CHECKSUM, expert.severity.ERROR)
loteria.experts = { malformed, bad_checksum }

loteria.prefs.port = Pref.uint("TCP port", 12345, "The hub's port")

-- No frame of any dialect is longer by default, and nothing is reassembled beyond it.
local FRAME_BYTES_MAX = 16 * 1024 * 1024

local STATUSES = { [0] = "welcome", "unknown agency", "credentials refused", "busy" }
local CODES = { "bad frame", "bad checksum", "gap", "bad bet", "late", "too large", "storage failed or full",
  "shutting down", "conflict" }

-- What went wrong with a frame is thrown as this, so that a fault in the script itself is not taken for one.
local function bad(why) error({ why = why }, 0) end

-- A cursor over one frame. Reading past its end is a fault of the frame.
local Cursor = {}
Cursor.__index = Cursor

local function cursor(tvb, from, to) return setmetatable({ tvb = tvb, at = from, to = to }, Cursor) end

function Cursor:take(size)
  if size > self.to - self.at then bad(size .. " bytes overrun the frame") end
  self.at = self.at + size
  -- A range of no bytes is no range; callers that allow an empty one ask first.
  return self.tvb(self.at - size, size)
end
function Cursor:u8() local range = self:take(1) return range:uint(), range end
function Cursor:u16() local range = self:take(2) return range:uint(), range end
function Cursor:u32() local range = self:take(4) return range:uint(), range end
function Cursor:text(size)
  if size == 0 then return "" end
  return self:take(size):raw()
end
function Cursor:left() return self.to - self.at end

-- Text ----------------------------------------------------------------------------------------------------------

local function split(text, separator)
  local parts, start = {}, 1
  while true do
    local at = text:find(separator, start, true)
    parts[#parts + 1] = text:sub(start, at and at - 1)
    if not at then return parts end
    start = at + #separator
  end
end

-- Splits at bars that no backslash hides; the parts keep their backslashes.
local function split_bars(text)
  local parts, part, at = {}, {}, 1
  while at <= #text do
    local letter = text:sub(at, at)
    if letter == "\\" then
      part[#part + 1] = text:sub(at, at + 1)
      at = at + 2
    else
      if letter == "|" then
        parts[#parts + 1] = table.concat(part)
        part = {}
      else
        part[#part + 1] = letter
      end
      at = at + 1
    end
  end
  parts[#parts + 1] = table.concat(part)
  return parts
end

-- What the hub drops around a field.
local function trim(text) return (text:match("^[ \t\r\n]*(.-)[ \t\r\n]*$")) end

local function unescape(text) return (text:gsub("\\(.)", "%1")) end

-- Peers send any bytes; people are shown UTF-8 without control characters.
local SEQUENCES = { "^[\32-\126]+", "^[\194-\223][\128-\191]", "^[\224-\239][\128-\191][\128-\191]",
  "^[\240-\244][\128-\191][\128-\191][\128-\191]" }
local function clean(text)
  local parts, at = {}, 1
  while at <= #text do
    local part
    for _, sequence in ipairs(SEQUENCES) do
      part = part or text:match(sequence, at)
    end
    parts[#parts + 1] = part or "."
    at = at + (part and #part or 1)
  end
  return table.concat(parts)
end

local function yyyymmdd(value)
  return ("%04d-%02d-%02d"):format(math.floor(value / 10000), math.floor(value / 100) % 100, value % 100)
end

-- Frames in the tree --------------------------------------------------------------------------------------------

-- One frame on its way into the tree: where it is, what it said, and the text for the Info column.
local Frame = {}
Frame.__index = Frame

function Frame:said(field, name) self.tree:add(f[field], name):set_generated() end

function Frame:of_agency(agency)
  if self.agencies[agency] then return end
  self.agencies[agency] = true
  self.tree:add(f.agency, agency):set_generated()
  self.note = self.note .. ", agency " .. agency
end

function Frame:add_bet(range, bet)
  local title = ("%s %s %s"):format(bet.first_name or "?", bet.last_name or "?", bet.document or "?")
  local item = self.tree:add(f.bet, range)
  item:set_text("Bet: " .. clean(title))
  for _, key in ipairs({ "first_name", "last_name", "document", "birthdate" }) do
    if bet[key] then item:add(f[key], range, clean(bet[key])) end
  end
  local number, agency = tonumber(bet.number), tonumber(bet.agency)
  if number and number >= 0 and number <= 0xFFFFFFFF then item:add(f.number, range, number) end
  if agency and agency >= 0 and agency <= 0xFFFFFFFF then
    item:add(f.bet_agency, range, agency)
    self:of_agency(agency)
  end
end

function Frame:message(text) self.tree:add(f.message, clean(text)) end

function Frame:request(name, bets)
  self:said("request", name)
  self.note = name
  if bets then
    self.tree:add(f.bets, bets):set_generated()
    self.note = ("%s of %d"):format(name, bets)
  end
end

function Frame:answer(name, detail)
  self:said("answer", name)
  self.note = detail and name .. " " .. detail or name
end

-- `documents` is a list of { text, range }.
function Frame:won(documents)
  self:answer("winners", tostring(#documents))
  self.tree:add(f.winners, #documents):set_generated()
  for _, winner in ipairs(documents) do self.tree:add(f.winner, winner[2], clean(winner[1])) end
end

-- The dialects --------------------------------------------------------------------------------------------------
--
-- Each has, for either side, the length of the frame that starts at `at` (nil while its header is not all there) and
-- how the frame is put into the tree. `expected` is what the answer answers, where its bytes do not say.

local function u32_at(tvb, at) return tvb:len() - at >= 4 and tvb(at, 4):uint() or nil end

local dialects = {}

dialects["case-id"] = {
  client = {
    length = function(tvb, at)
      local case = tvb(at, 1):uint()
      if case == 1 then
        local size = u32_at(tvb, at + 1)
        return size and 5 + size
      end
      return case == 2 and 1 or case == 3 and 5 or bad("unknown case " .. case)
    end,
    show = function(frame, body)
      local case = body:u8()
      if case == 2 then
        frame:request("finish")
        return "finish"
      elseif case == 3 then
        frame:request("query")
        frame:of_agency(body:u32())
        return "query"
      end
      frame.tree:add(f.length, body:take(4))
      local bets = {}
      while body:left() > 0 do
        local start, bet = body.at, { agency = body:u32() }
        for _, key in ipairs({ "first_name", "last_name", "document", "birthdate" }) do bet[key] = body:text(body:u32()) end
        bet.number = body:u32()
        bets[#bets + 1] = { body.tvb(start, body.at - start), bet }
      end
      frame:request("batch", #bets)
      for _, bet in ipairs(bets) do frame:add_bet(bet[1], bet[2]) end
    end,
  },
  server = {
    length = function(tvb, at, expected)
      if expected ~= "query" then return 1 end
      local size = u32_at(tvb, at)
      return size and 4 + size
    end,
    show = function(frame, body, expected)
      if expected ~= "query" then
        local status = body:u8()
        frame:answer(status == 2 and "stored" or status == 0 and "rejected" or bad("unknown answer " .. status))
        return
      end
      frame.tree:add(f.length, body:take(4))
      local documents = {}
      while body:left() > 0 do
        local start = body.at
        documents[#documents + 1] = { body:text(body:u32()), body.tvb(start, body.at - start) }
      end
      frame:won(documents)
    end,
  },
}

-- The length of `<decimal>\n` and of what it announces.
local function text_length(tvb, at)
  local head = tvb(at, math.min(11, tvb:len() - at)):raw()
  local digits = head:match("^(%d+)\n")
  if digits then return #digits + 1 + tonumber(digits) end
  if not head:find("^%d*$") or #head > 10 then bad("no decimal length") end
end

local function text_bet(line)
  local part = split(line, "|")
  for index, field in ipairs(part) do part[index] = trim(field) end
  return { first_name = part[1], last_name = part[2], document = part[3], birthdate = part[4], number = part[5],
    agency = part[6] }
end

-- Calls `each` with every line of the message and its range.
local function text_lines(body, message, each)
  local start = body.to - #message
  for _, line in ipairs(split(message, "\n")) do
    if trim(line) ~= "" then each(line, body.tvb(start, #line)) end
    start = start + #line + 1
  end
end

local function text_message(frame, body)
  local digits = body.tvb(body.at, math.min(11, body:left())):raw():match("^%d+")
  frame.tree:add(f.length, body:take(#digits + 1), tonumber(digits))
  return body:text(body:left())
end

dialects["text"] = {
  client = {
    length = text_length,
    show = function(frame, body)
      local message = text_message(frame, body)
      if message:find("^[ \t\r\n]*GET_WINNERS") then
        frame:request("query")
        frame:message(message)
        local named = trim(message):match("^GET_WINNERS[ \t\r\n]*|(.*)$")
        local agency = named and tonumber(trim(named):match("^%d+$"))
        if agency and agency <= 0xFFFFFFFF then frame:of_agency(agency) end
        return
      end
      local count = 0
      text_lines(body, message, function() count = count + 1 end)
      frame:request("batch", count)
      text_lines(body, message, function(line, range) frame:add_bet(range, text_bet(line)) end)
    end,
  },
  server = {
    length = text_length,
    show = function(frame, body)
      local message = text_message(frame, body)
      if message == "ACK" then
        frame:answer("stored")
      elseif message == "ERROR_LOTTERY_HASNT_ENDED" then
        frame:answer("not yet")
      elseif message:find("^ERROR_[A-Z_]+$") then
        frame:answer("rejected", message)
      else
        local documents = {}
        text_lines(body, message, function(line, range) documents[#documents + 1] = { text_bet(line).document or line, range } end)
        frame:won(documents)
        return
      end
      frame:message(message)
    end,
  },
}

local KEYS = { NOMBRE = "first_name", APELLIDO = "last_name", DOCUMENTO = "document", NACIMIENTO = "birthdate",
  NUMERO = "number", AGENCY_ID = "agency" }

-- A bet is a list of pairs joined by bars, or, as the documents print it, by colons before the known keys.
local function key_value_bet(value)
  local bet, parts = {}, split_bars(unescape(value))
  for _, part in ipairs(parts) do
    local key, text = part:match("^([A-Z_]+):(.*)$")
    if not KEYS[key] then parts = {} break end
    bet[KEYS[key]] = unescape(text)
  end
  if #parts > 1 then return bet end
  local text, marks = ":" .. unescape(value), {}
  for key in pairs(KEYS) do
    local at, last = text:find(":" .. key .. ":", 1, true)
    if at then marks[#marks + 1] = { at = at, last = last, key = key } end
  end
  table.sort(marks, function(one, other) return one.at < other.at end)
  bet = {}
  for index, mark in ipairs(marks) do
    bet[KEYS[mark.key]] = text:sub(mark.last + 1, marks[index + 1] and marks[index + 1].at - 1)
  end
  return bet
end

local function key_value_length(tvb, at)
  local size = u32_at(tvb, at)
  return size and 4 + size
end

-- The pairs of a payload, in order, as { key, value with its backslashes }, and the payload's range: what is found
-- behind escapes has no bytes of its own to point at. The closing line feed may have spaces before it, or be absent.
local function key_value_pairs(frame, body)
  frame.tree:add(f.length, body:take(4))
  if body:left() == 0 then bad("no payload") end
  local range, pairs_ = body.tvb(body.at, body:left()), {}
  local payload = body:text(body:left()):gsub("[ \t\r\n]+$", "")
  for _, part in ipairs(split_bars(payload)) do
    local key, value = part:match("^([^:]*):(.*)$")
    if not key then bad("a pair without a colon") end
    pairs_[#pairs_ + 1] = { key, value }
  end
  return pairs_, range
end

dialects["key-value"] = {
  client = {
    length = key_value_length,
    show = function(frame, body)
      local values, bets = {}, {}
      local found, payload = key_value_pairs(frame, body)
      for _, pair in ipairs(found) do
        values[pair[1]] = unescape(pair[2])
        if pair[1]:find("^BET_%d+$") then bets[#bets + 1] = key_value_bet(pair[2]) end
      end
      if values.ACTION then
        frame:request("finish")
        frame:message(values.ACTION)
        local agency = tonumber(values.AGENCY_ID)
        if agency and agency <= 0xFFFFFFFF then frame:of_agency(agency) end
        return
      end
      frame:request("batch", #bets)
      for _, bet in ipairs(bets) do frame:add_bet(payload, bet) end
    end,
  },
  server = {
    length = key_value_length,
    show = function(frame, body)
      local values, found, payload = {}, key_value_pairs(frame, body)
      for _, pair in ipairs(found) do values[pair[1]] = unescape(pair[2]) end
      if values.WINNERS then
        local documents = {}
        for document in values.WINNERS:gmatch("[^,]+") do documents[#documents + 1] = { document, payload } end
        frame:won(documents)
      else
        frame:answer(values.STATUS == "SUCCESS" and "stored" or "rejected", values.STATUS ~= "SUCCESS" and values.MESSAGE or nil)
        if values.MESSAGE then frame:message(values.MESSAGE) end
      end
    end,
  },
}

-- A count of bets, each of at least `size` bytes, that the frame can hold.
local function room_for(body, count, size)
  if count * size > body:left() then bad("more bets than the frame can hold") end
  return count
end

dialects["binary"] = {
  client = {
    length = function(tvb, at)
      local first, second = u32_at(tvb, at), u32_at(tvb, at + 4)
      if not second then return nil end
      -- A first word of 1, 2 or 3 is a type, and the length of the rest follows; else it is the whole length.
      if first >= 1 and first <= 3 then return 8 + second end
      return first >= 8 and first or bad("no header")
    end,
    show = function(frame, body)
      local first, one = body:u32()
      local second, other = body:u32()
      local type_first = first <= 3
      frame.tree:add(f.length, type_first and other or one)
      local kind = type_first and first or second
      local agency = body:u32()
      local bets = 0
      if kind == 1 then
        bets = body:u32()
        frame:request("batch", room_for(body, bets, 20))
      else
        frame:request(kind == 2 and "finish" or kind == 3 and "query" or bad("unknown type " .. kind))
      end
      frame:of_agency(agency)
      for _ = 1, bets do
        local start, bet = body.at, {}
        bet.first_name, bet.last_name = body:text(body:u32()), body:text(body:u32())
        bet.document, bet.birthdate, bet.number = ("%08d"):format(body:u32()), yyyymmdd(body:u32()), body:u32()
        frame:add_bet(body.tvb(start, body.at - start), bet)
      end
      if body:left() > 0 then bad(body:left() .. " bytes after the end") end
      return kind == 3 and "query" or kind == 2 and "finish" or "batch"
    end,
  },
  server = {
    length = function(tvb, at, expected)
      if expected ~= "query" or tvb(at, 1):uint() ~= 0 then return 1 end
      local count = u32_at(tvb, at + 1)
      return count and 5 + 4 * count
    end,
    show = function(frame, body, expected)
      local status = body:u8()
      if status > 1 then bad("unknown status " .. status) end
      if expected == "query" and status == 0 then
        local documents = {}
        body:u32()
        while body:left() > 0 do
          local document, range = body:u32()
          documents[#documents + 1] = { ("%08d"):format(document), range }
        end
        frame:won(documents)
      else
        frame:answer(status == 0 and "stored" or expected == "query" and "not yet" or "rejected")
      end
    end,
  },
}

local function csv_length(tvb, at)
  local kind = tvb(at, 1):uint()
  if kind ~= 1 and kind ~= 3 then return 1 end
  return tvb:len() - at >= 3 and 3 + tvb(at + 1, 2):uint() or nil
end

dialects["csv"] = {
  client = {
    length = csv_length,
    show = function(frame, body)
      local kind = body:u8()
      if kind == 0xFF then return frame:request("finish") end
      if kind ~= 1 then bad("unknown kind " .. kind) end
      frame.tree:add(f.length, body:take(2))
      local start, fields = body.at, split(body:text(body:left()), ",")
      -- One that lacks fields counts, but not what follows the last comma if that is nothing.
      local given = trim(fields[#fields]) == "" and #fields - 1 or #fields
      frame:request("batch", math.ceil(given / 5))
      for first = 1, #fields - 4, 5 do
        local size, trimmed = 0, {}
        for index = 0, 4 do
          trimmed[index + 1] = trim(fields[first + index])
          size = size + #fields[first + index] + 1
        end
        frame:add_bet(body.tvb(start, math.min(size, body.to - start)), { first_name = trimmed[1], last_name = trimmed[2],
          document = trimmed[3], birthdate = trimmed[4], number = trimmed[5] })
        start = start + size
      end
    end,
  },
  server = {
    length = csv_length,
    show = function(frame, body)
      local kind = body:u8()
      if kind == 2 or kind == 0xFF then return frame:answer(kind == 2 and "stored" or "rejected") end
      if kind ~= 3 then bad("unknown kind " .. kind) end
      frame.tree:add(f.length, body:take(2))
      local start, documents = body.at, {}
      for _, document in ipairs(split(body:text(body:left()), ",")) do
        if #document > 0 then documents[#documents + 1] = { document, body.tvb(start, #document) } end
        start = start + #document + 1
      end
      frame:won(documents)
    end,
  },
}

local CRC_TABLE = {}
for byte = 0, 255 do
  local entry = byte
  for _ = 1, 8 do
    entry = bit.bxor(bit.rshift(entry, 1), bit.band(entry, 1) == 1 and 0x82F63B78 or 0)
  end
  CRC_TABLE[byte] = entry
end

local function crc32c(data)
  local crc = -1
  for at = 1, #data do
    crc = bit.bxor(CRC_TABLE[bit.band(bit.bxor(crc, data:byte(at)), 0xFF)], bit.rshift(crc, 8))
  end
  return bit.bnot(crc) % 2 ^ 32
end

-- Bets of `native`: three short strings, then birthdate and number.
local function native_bets(body, count)
  local bets = {}
  for _ = 1, count do
    local start, bet = body.at, {}
    for _, key in ipairs({ "first_name", "last_name", "document" }) do bet[key] = body:text((body:u8())) end
    bet.birthdate, bet.number = yyyymmdd((body:u32())), body:u32()
    bets[#bets + 1] = { body.tvb(start, body.at - start), bet }
  end
  return bets
end

local function native_u64(frame, body, field)
  local range = body:take(8)
  frame.tree:add(f[field], range)
  return tostring(range:uint64())
end

local function native_reason(frame, body, name, before)
  local code, range = body:u16()
  local reason = body:text(body:left())
  frame:answer(name, ("%s%s: %s"):format(before, CODES[code] or code, reason))
  frame.tree:add(f.code, range):append_text(" (" .. (CODES[code] or "unknown") .. ")")
  frame:message(reason)
end

local NATIVE = {
  [0x01] = function(frame, body)
    local sequence = native_u64(frame, body, "sequence")
    local count = room_for(body, (body:u16()), 11)
    frame:request("batch", count)
    frame.note = frame.note .. ", sequence " .. sequence
    for _, bet in ipairs(native_bets(body, count)) do frame:add_bet(bet[1], bet[2]) end
  end,
  [0x02] = function(frame) frame:request("finish") end,
  [0x03] = function(frame) frame:request("query") end,
  -- Neither has a reply, or is one: the query before them has.
  [0x05] = function(frame) frame.note = "watch" end,
  [0x81] = function(frame, body) frame:answer("stored", "below " .. native_u64(frame, body, "next")) end,
  [0x82] = function(frame, body)
    local sequence = native_u64(frame, body, "sequence")
    native_reason(frame, body, "rejected", sequence .. ", ")
  end,
  [0x83] = function(frame, body)
    local batches, bets = native_u64(frame, body, "batches"), native_u64(frame, body, "bets_stored")
    frame:answer("finished", ("%s batches, %s bets"):format(batches, bets))
  end,
  [0x84] = function(frame, body)
    local documents = {}
    local count = room_for(body, (body:u32()), 11)
    for _, bet in ipairs(native_bets(body, count)) do documents[#documents + 1] = { bet[2].document, bet[1] } end
    frame:won(documents)
  end,
  [0x85] = function(frame, body) native_reason(frame, body, "error", "") end,
  [0x86] = function(frame, body)
    local missing, named = body:u32(), {}
    for _ = 1, room_for(body, (body:u8()), 4) do named[#named + 1] = tostring((body:u32())) end
    frame.note = ("waiting for %d agencies: %s"):format(missing, table.concat(named, ", "))
  end,
}

-- Both sides open with a hello of a fixed length; frames follow. `role` is "hello" for the first thing of a side.
local function native_side(hello_length, show_hello)
  return {
    length = function(tvb, at, role)
      if role == "hello" then return hello_length end
      local size = u32_at(tvb, at)
      return size and 4 + size
    end,
    show = function(frame, body, role)
      if role == "hello" then return show_hello(frame, body) end
      frame.tree:add(f.length, body:take(4))
      if body:left() < 5 then bad("too short for a kind and a checksum") end
      local checked = body.tvb(body.at, body:left() - 4)
      local kind = body:u8()
      body.to = body.to - 4
      local told = body.tvb(body.to, 4)
      local item = frame.tree:add(f.checksum, told)
      if told:uint() ~= crc32c(checked:raw()) then item:add_proto_expert_info(bad_checksum) end
      local show = NATIVE[kind] or bad("unknown kind " .. kind)
      show(frame, body)
      if body:left() > 0 then bad(body:left() .. " bytes after the end") end
    end,
  }
end

dialects["native"] = {
  client = native_side(8, function(frame, body)
    body:take(4)
    frame:request("hello")
    frame:of_agency((body:u32()))
  end),
  server = native_side(13, function(frame, body)
    body:take(4)
    local status, range = body:u8()
    local meaning = STATUSES[status] or "unknown"
    frame.tree:add(f.status, range):append_text((" (%s)"):format(meaning))
    local next_ = native_u64(frame, body, "next")
    frame:answer(status == 0 and "welcome" or "refused", status == 0 and "next " .. next_ or meaning)
  end),
}

local function echo_side(kind)
  return {
    length = function(tvb, at) return tvb:len() - at end,
    show = function(frame, body)
      local line = body:text(body:left()):gsub("[\r\n]+$", "")
      frame[kind](frame, "echo", kind == "answer" and line or nil)
      frame.note = "echo: " .. line
      frame:message(line)
    end,
  }
end
dialects["echo"] = { client = echo_side("request"), server = echo_side("answer") }

-- Conversations -------------------------------------------------------------------------------------------------

-- The dialect that first bytes show; else nil, and what they are if nothing follows them but silence.
local function detect(head)
  local first = head:byte(1)
  if first == 0x00 then
    if #head < 5 then return nil end
    return head:byte(5) == 0 and "binary" or "key-value"
  elseif first == 0x01 then
    if #head < 3 then return nil end
    if head:byte(2) ~= 0 or head:byte(3) ~= 0 then return "csv" end
    if #head == 3 then return nil, "csv" end
    return "case-id"
  elseif first == 0x02 or first == 0x03 then
    return "case-id"
  elseif first == 0xFF then
    return "csv"
  end
  if head:find("^%d+$") and #head < 10 then return nil, "echo" end
  local line = head:match("^%d+\n")
  if line and #line <= 10 then
    if #head == #line then return nil, "echo" end
    return "text"
  end
  local magic = "\xB7LN\x01"
  if head:sub(1, 4) == magic then return "native" end
  if #head < 4 and magic:sub(1, #head) == head then return nil, "echo" end
  return "echo"
end

local stream_of = Field.new("tcp.stream")
local streams = {}
function loteria.init() streams = {} end

-- What is remembered of a connection: its dialect, the requests that wait for an answer, and, so that a frame looked
-- at twice reads the same, what each answer was found to answer.
local function conversation(pinfo)
  local number = tonumber(tostring(stream_of()))
  local known = streams[number]
  if not known then
    -- The client sends first, in every dialect; the hub's own port is a surer sign.
    known = { client_port = pinfo.src_port, expected = {}, roles = {}, greeted = {}, opened = {} }
    if pinfo.src_port == loteria.prefs.port and pinfo.dst_port ~= loteria.prefs.port then known.client_port = pinfo.dst_port end
    streams[number] = known
  end
  return known
end

-- What the frame at `key` answers, or that it is its side's hello; the same each time it is asked.
local function role_of(known, side, key, pinfo)
  if known.roles[key] == nil and not pinfo.visited then
    if known.dialect == "native" then
      known.roles[key] = not known.greeted[side] and "hello" or false
    elseif side == "server" then
      known.roles[key] = known.expected[1] or false
    end
  end
  return known.roles[key] or nil
end

local function settle(known, side, expects, pinfo)
  if pinfo.visited then return end
  known.greeted[side] = true
  if side == "client" then
    if expects then table.insert(known.expected, expects) end
  else
    table.remove(known.expected, 1)
  end
end

-- Puts one whole frame into the tree; returns its line for the Info column, and whether it made sense.
local function show_frame(known, side, tvb, at, size, role, pinfo, tree)
  local item = tree:add(loteria, tvb(at, size))
  item:add(f.dialect, known.dialect):set_generated()
  local frame = setmetatable({ tree = item, agencies = {}, note = "" }, Frame)
  local ok, result = pcall(dialects[known.dialect][side].show, frame, cursor(tvb, at, at + size), role)
  if not ok then
    if type(result) ~= "table" then error(result, 0) end
    item:add_proto_expert_info(malformed, result.why)
    frame.note = (frame.note .. " [malformed: " .. result.why .. "]"):gsub("^ ", "")
  end
  frame.note = clean(frame.note)
  settle(known, side, ok and result or nil, pinfo)
  item:append_text((", %s: %s"):format(known.dialect, frame.note))
  return frame.note, ok
end

-- The length of the frame at `at`; nil and no reason while its header is not complete.
local function frame_length(known, side, tvb, at, role)
  local ok, size = pcall(dialects[known.dialect][side].length, tvb, at, role)
  if not ok then
    if type(size) ~= "table" then error(size, 0) end
    return nil, size.why
  end
  if size and size > FRAME_BYTES_MAX then return nil, "a length of " .. size .. " bytes" end
  return size
end

-- The dialect of the conversation, from the client's first bytes, or from the hub's answer to their silence.
local function dialect_of(known, side, tvb)
  if not known.dialect and side == "client" then
    known.dialect, known.if_silent = detect(tvb(0, math.min(16, tvb:len())):raw())
  elseif not known.dialect then
    known.dialect = known.if_silent or "echo"
  end
  return known.dialect
end

-- Sets the Info column. A packet that ends one reassembled frame and holds others comes by more than once: what it
-- said first stays, and the rest follows.
local function show_info(known, side, text, offset, pinfo)
  known.opened[pinfo.number] = known.opened[pinfo.number] or offset
  local first = known.opened[pinfo.number] == offset
  local arrow = side == "client" and "→" or "←"
  pinfo.cols.info:set(first and ("%s %s %s"):format(known.dialect, arrow, text) or "; " .. text)
  pinfo.cols.info:fence()
end

function loteria.dissector(tvb, pinfo, tree)
  if tvb:len() == 0 or tvb:len() < tvb:reported_len() then return 0 end
  local known = conversation(pinfo)
  local side = pinfo.src_port == known.client_port and "client" or "server"
  if not dialect_of(known, side, tvb) then
    pinfo.desegment_offset, pinfo.desegment_len = 0, DESEGMENT_ONE_MORE_SEGMENT
    return tvb:len()
  end
  pinfo.cols.protocol = "Lotería"
  local notes, at = {}, 0
  while at < tvb:len() do
    local role = role_of(known, side, ("%s %d %d %d"):format(side, pinfo.number, tvb:offset(), at), pinfo)
    local size, fault = frame_length(known, side, tvb, at, role)
    if fault then
      tree:add(loteria, tvb(at)):add_proto_expert_info(malformed, fault)
      notes[#notes + 1] = "[malformed: " .. fault .. "]"
      break
    elseif not size or size > tvb:len() - at then
      pinfo.desegment_offset = at
      pinfo.desegment_len = size and size - (tvb:len() - at) or DESEGMENT_ONE_MORE_SEGMENT
      break
    end
    local note, sound = show_frame(known, side, tvb, at, size, role, pinfo, tree)
    notes[#notes + 1] = note
    -- What follows a malformed frame has no meaning, for the hub either.
    if not sound then break end
    at = at + size
  end
  if #notes > 0 then show_info(known, side, table.concat(notes, "; "), tvb:offset(), pinfo) end
  return tvb:len()
end

local ports = DissectorTable.get("tcp.port")
local registered = loteria.prefs.port
ports:add(registered, loteria)
function loteria.prefs_changed()
  if registered == loteria.prefs.port then return end
  ports:remove(registered, loteria)
  registered = loteria.prefs.port
  ports:add(registered, loteria)
end
