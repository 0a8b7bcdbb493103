export {
  type AuthorityMaterial,
  caDigest,
  createAuthority,
  type IdentityRequest,
  type SubjectRequest,
  signIdentity,
  signSubject,
  trustDigest,
  trusts,
} from './authority.ts';
export { CertStore, type StoredCertificate } from './cert-store.ts';
export { type CertificateFacts, readCertificate, renewalAtMs } from './certificate.ts';
export {
  formatJoinToken,
  hashTokenSecret,
  type JoinToken,
  newTokenSecret,
  parseJoinToken,
  tokenSecretMatches,
} from './join-token.ts';
export { lifetimes } from './lifetimes.ts';
export { createCsr, createKey, csrKeySha256 } from './request.ts';
