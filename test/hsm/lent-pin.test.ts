import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { withPinFile } from '../../src/hsm/lent-pin.ts'
import { Secret } from '../../src/secret.ts'

test('a PIN is lent under a path that has no name of its own and ends with the call', () => {
  const before = readdirSync('/dev/shm')
  const path = withPinFile(new Secret('1234'), (lent) => {
    expect(readFileSync(lent, 'utf8')).toBe('1234')
    // Read once more: what opens it begins at its start.
    expect(readFileSync(lent, 'utf8')).toBe('1234')
    expect(readdirSync('/dev/shm')).toEqual(before)
    return lent
  })
  expect(() => closeSync(openSync(path, 'r'))).toThrow('ENOENT')
})

test('nothing stays open where the borrower fails', () => {
  const open = readdirSync('/proc/self/fd').length
  expect(() =>
    withPinFile(new Secret('1234'), () => {
      throw new Error('refused')
    }),
  ).toThrow('refused')
  expect(readdirSync('/proc/self/fd')).toHaveLength(open)
})
