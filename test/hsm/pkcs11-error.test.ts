import { describe, expect, test } from 'vitest'
import { LeafkeeperError } from '../../src/errors.ts'
import { ckrName, hsmError, isHandleStale, isSessionLost } from '../../src/hsm/pkcs11-error.ts'
import { ckr } from '../support/spy-module.ts'

describe('what a module returns becomes a code, with its name as the reason', () => {
  test.each([
    ['CKR_PIN_INCORRECT', 'HSM_PIN_INCORRECT', false],
    ['CKR_PIN_LEN_RANGE', 'HSM_PIN_INCORRECT', false],
    ['CKR_PIN_LOCKED', 'HSM_PIN_LOCKED', false],
    ['CKR_DEVICE_MEMORY', 'HSM_TOKEN_FULL', false],
    ['CKR_DEVICE_REMOVED', 'HSM_TOKEN_REMOVED', true],
    ['CKR_TOKEN_NOT_PRESENT', 'HSM_TOKEN_REMOVED', true],
    ['CKR_SESSION_COUNT', 'HSM_SESSIONS_EXHAUSTED', true],
    ['CKR_MECHANISM_INVALID', 'HSM_KEY_TYPE_UNSUPPORTED', false],
    ['CKR_CURVE_NOT_SUPPORTED', 'HSM_KEY_TYPE_UNSUPPORTED', false],
    ['CKR_KEY_HANDLE_INVALID', 'HSM_KEY_NOT_FOUND', false],
    ['CKR_HOST_MEMORY', 'HSM_DEVICE_ERROR', true],
    ['CKR_GENERAL_ERROR', 'HSM_DEVICE_ERROR', true],
    ['CKR_VENDOR_DEFINED', 'HSM_DEVICE_ERROR', true],
  ])('%s is %s, retryable %s', (name, code, retryable) => {
    const error = hsmError(ckr(name), 'do it on token "t"')
    expect(error).toMatchObject({ code, reason: name, retryable })
    expect(error.message).toContain(`Could not do it on token "t": ${name}.`)
  })
})

test('the native form of an error is understood too', () => {
  expect(ckrName(new Error('CKR_SESSION_HANDLE_INVALID:179\n    at PKCS11.C_FindObjects (x.cpp:1)'))).toBe(
    'CKR_SESSION_HANDLE_INVALID',
  )
})

test('an error that is ours already passes through', () => {
  const error = new LeafkeeperError('HSM_PIN_MISSING')
  expect(hsmError(error, 'log in')).toBe(error)
})

test('anything else is a failure of the token, with what it said', () => {
  expect(hsmError(new Error('boom'), 'log in')).toMatchObject({ code: 'HSM_DEVICE_ERROR', reason: undefined })
  expect(hsmError('boom', 'log in', 'HSM_MODULE_FAILED').message).toContain('boom')
})

test('a lost session and a stale handle are told apart, also inside our own error', () => {
  const lost = hsmError(ckr('CKR_SESSION_HANDLE_INVALID'), 'sign')
  const stale = hsmError(ckr('CKR_OBJECT_HANDLE_INVALID'), 'sign')
  expect([isSessionLost(lost), isHandleStale(lost)]).toEqual([true, false])
  expect([isSessionLost(stale), isHandleStale(stale)]).toEqual([false, true])
  expect(isSessionLost(new Error('no'))).toBe(false)
})
