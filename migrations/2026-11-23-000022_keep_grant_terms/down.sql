DROP TABLE grant_terms;
