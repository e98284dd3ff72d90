/** Values that programs stumble over, and ways to spoil what is right. */
import type { Dice } from './dice.ts'

const texts = [
  '',
  ' ',
  '0',
  '-1',
  '007',
  '1e309',
  'null',
  'undefined',
  'NaN',
  'true',
  '{}',
  '[]',
  '"',
  "'",
  '\\',
  '%',
  '%00',
  '%zz',
  '%C3%28',
  '%2e%2e%2f',
  '../../etc/passwd',
  '..\\..\\windows',
  '..',
  '.',
  '/',
  '//',
  '#',
  '+',
  '*',
  '?',
  '&',
  '=',
  ';',
  '$',
  '$version',
  '$metadata',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '\0',
  'a\0b',
  '\r\nx: y',
  '\u0007',
  '\u0085',
  '\u2028',
  '\ud800',
  '\udc00\ud800',
  '\u202e',
  '\ufeff',
  '💥',
  'é'.repeat(50),
  'a'.repeat(128),
  'a'.repeat(129),
  'x'.repeat(5000),
  '9'.repeat(400),
  "' OR 1=1 --",
  "SELECT * FROM devices WHERE deviceId = '",
  '<script>alert(1)</script>',
  '2026-13-45T99:99:99Z',
  '+275760-09-13T00:00:00.000Z',
  'AAAA====',
  '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
  'http://169.254.169.254/latest',
] as const

// None of these is a number of seconds that a call could wait for.
const numbers = [-1, -0, 0, 0.5, 301, 1001, 2 ** 31, 2 ** 53, 1e21, 1e308, -1e308]

/** Stands in JSON for what nobody would build: see {@link toText}. */
const abyss = '@abyss@'
const depth = 20_000

export function strangeText(dice: Dice): string {
  return dice.pick(texts)
}

function strangeValue(dice: Dice): unknown {
  switch (dice.number(8)) {
    case 0:
      return null
    case 1:
      return dice.chance(0.5)
    case 2:
      return dice.pick(numbers)
    case 3:
      return dice.chance(0.5) ? {} : []
    case 4:
      return Array.from({ length: dice.number(150) }, () => dice.pick(numbers))
    case 5:
      return { [strangeText(dice)]: strangeText(dice), nested: { [strangeText(dice)]: dice.pick(numbers) } }
    case 6:
      return dice.chance(0.2) ? abyss : [[[[[[[[[[[['twelve levels']]]]]]]]]]]]
    default:
      return strangeText(dice)
  }
}

/** The same JSON with one thing wrong somewhere within. */
export function spoiled(dice: Dice, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || dice.chance(0.1)) return strangeValue(dice)
  if (Array.isArray(value)) {
    const list: unknown[] = [...(value as readonly unknown[])]
    if (list.length === 0) return [strangeValue(dice)]
    const at = dice.number(list.length)
    if (dice.chance(0.2)) list.splice(at, dice.number(2), list[at])
    else list[at] = spoiled(dice, list[at])
    return list
  }
  const entries = Object.entries(value) as [string, unknown][]
  if (entries.length === 0) return { [strangeText(dice)]: strangeValue(dice) }
  const at = dice.number(entries.length)
  const [name, member] = entries[at] ?? ['', undefined]
  switch (dice.number(8)) {
    case 0:
      entries.splice(at, 1)
      break
    case 1:
      entries[at] = [strangeText(dice), member]
      break
    case 2:
      entries.push([strangeText(dice), strangeValue(dice)])
      break
    default:
      entries[at] = [name, spoiled(dice, member)]
  }
  // fromEntries makes own properties, whatever they are called.
  return Object.fromEntries(entries)
}

/** Writes JSON, also what lies deeper than any program could write it. */
export function toText(value: unknown): string {
  return JSON.stringify(value).replaceAll(`"${abyss}"`, '['.repeat(depth) + ']'.repeat(depth))
}

/** A text with a few characters lost, doubled, changed or put in. */
export function scratched(dice: Dice, text: string): string {
  let changed = text
  for (let times = 1 + dice.number(3); times > 0; times -= 1) {
    const at = dice.number(changed.length + 1)
    const [before, after] = [changed.slice(0, at), changed.slice(at)]
    switch (dice.number(5)) {
      case 0:
        changed = before
        break
      case 1:
        changed = before + after.slice(1)
        break
      case 2:
        changed = before + after.slice(0, 3) + after
        break
      case 3:
        changed = before + String.fromCharCode(32 + dice.number(95)) + after.slice(1)
        break
      default:
        changed = before + strangeText(dice) + after
    }
  }
  return changed
}

/** The same for bytes. */
export function scratchedBytes(dice: Dice, bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes)
  for (let times = 1 + dice.number(4); times > 0 && changed.length > 0; times -= 1) {
    const at = dice.number(changed.length)
    changed[at] = dice.chance(0.5) ? dice.number(256) : changed.readUInt8(at) ^ (1 << dice.number(8))
  }
  switch (dice.number(6)) {
    case 0:
      return changed.subarray(0, dice.number(changed.length + 1))
    case 1:
      return Buffer.concat([changed, dice.bytes(dice.number(40))])
    case 2:
      return Buffer.concat([dice.bytes(1 + dice.number(4)), changed])
    default:
      return changed
  }
}
