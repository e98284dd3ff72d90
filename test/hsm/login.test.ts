import pkcs11, { type PKCS11 } from 'pkcs11js'
import { describe, expect, test, vi } from 'vitest'
import type { FoundToken } from '../../src/hsm/find-token.ts'
import { logIn } from '../../src/hsm/login.ts'
import { Secret } from '../../src/secret.ts'
import { ckr } from '../support/spy-module.ts'

const session = Buffer.of(1)

function newToken(serial: string, flags = 0): FoundToken {
  const description = { module: '/m.so', label: 'gateway', serial, manufacturer: 'm', model: 'm' }
  return { slot: Buffer.of(0), flags, maxSessions: undefined, description }
}

/** A module whose C_Login answers with a return value. */
function answering(name?: string): { api: PKCS11; login: ReturnType<typeof vi.fn> } {
  const login = vi.fn(() => {
    if (name !== undefined) throw ckr(name)
  })
  const api = new pkcs11.PKCS11()
  api.C_Login = login
  return { api, login }
}

describe('no PIN is sent to a token', () => {
  test('that is locked', () => {
    const { api, login } = answering()
    expect(() => {
      logIn(api, session, newToken('1', pkcs11.CKF_USER_PIN_LOCKED), new Secret('1234'))
    }).toThrow(expect.objectContaining({ code: 'HSM_PIN_LOCKED' }))
    expect(login).not.toHaveBeenCalled()
  })

  test('that locks after one more wrong try', () => {
    const { api, login } = answering()
    expect(() => {
      logIn(api, session, newToken('2', pkcs11.CKF_USER_PIN_FINAL_TRY), new Secret('1234'))
    }).toThrow(expect.objectContaining({ code: 'HSM_PIN_INCORRECT', reason: 'CKF_USER_PIN_FINAL_TRY' }))
    expect(login).not.toHaveBeenCalled()
  })

  test.each(['CKR_PIN_INCORRECT', 'CKR_PIN_INVALID', 'CKR_PIN_LEN_RANGE', 'CKR_PIN_EXPIRED'])(
    'that answered %s to it before, though another PIN is',
    (name) => {
      const { api, login } = answering(name)
      const token = newToken(name)
      for (let tries = 0; tries < 3; tries += 1) {
        expect(() => {
          logIn(api, session, token, new Secret('1234'))
        }).toThrow(expect.objectContaining({ code: 'HSM_PIN_INCORRECT' }))
      }
      expect(login).toHaveBeenCalledTimes(1)
      expect(() => {
        logIn(api, session, token, new Secret('5678'))
      }).toThrow()
      expect(login).toHaveBeenCalledTimes(2)
      expect(() => {
        logIn(api, session, newToken(`${name}, but another token`), new Secret('1234'))
      }).toThrow()
      expect(login).toHaveBeenCalledTimes(3)
    },
  )
})

describe('a PIN is tried again', () => {
  test.each(['CKR_DEVICE_ERROR', 'CKR_SESSION_HANDLE_INVALID', 'CKR_TOKEN_NOT_PRESENT'])(
    'after %s, which says nothing about it',
    (name) => {
      const { api, login } = answering(name)
      const again = (): void => {
        logIn(api, session, newToken(name), new Secret('1234'))
      }
      expect(again).toThrow()
      expect(again).toThrow()
      expect(login).toHaveBeenCalledTimes(2)
    },
  )
})

test('who is logged in already is logged in', () => {
  const { api } = answering('CKR_USER_ALREADY_LOGGED_IN')
  expect(() => {
    logIn(api, session, newToken('3'), new Secret('1234'))
  }).not.toThrow()
})
